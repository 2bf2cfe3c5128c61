"""The funnel as people read it: whole, as a table, or short."""

from collections.abc import Iterator, Mapping

from contextvqa.gates import GATE
from contextvqa.watching.funnel import ACCEPTED, RECORDS, FunnelState

#: Longest distribution that is shown; what is beyond is added up.
MAX_COUNTS = 8


def table(funnel: FunnelState) -> list[str]:
    """Return the funnel with the steps at which records were lost, and all that the gates found."""
    return [*_steps(funnel), *_gates(funnel), *_details(funnel)]


def summary(funnel: FunnelState) -> list[str]:
    """Return the funnel in a few lines."""
    way = " -> ".join(f"{number:,} {step}" for step, number in _shown(funnel.steps).items())
    return [f"  {way}", *_details(funnel)]


def _shown(steps: Mapping[str, int]) -> dict[str, int]:
    """Return the steps as they are called, without the gates that rejected nothing."""
    shown: dict[str, int] = {}
    before = 0
    for step, number in steps.items():
        is_gate = step.startswith(GATE)
        if not is_gate or number < before:
            shown[f"past {step}" if is_gate else step] = number
        before = number
    return shown


def _steps(funnel: FunnelState) -> Iterator[str]:
    steps = _shown(funnel.steps)
    num_records = before = funnel.steps[RECORDS]
    width, digits = max(map(len, steps)), len(f"{num_records:,}")
    for step, number in steps.items():
        share = "" if step == RECORDS else f"  {_percent(number, before)}"
        if step == ACCEPTED:
            share = f"  {_percent(number, num_records)} of records"
        yield f"  {step:{width}}  {number:{digits},}{share}"
        before = number


def _gates(funnel: FunnelState) -> Iterator[str]:
    if not funnel.gates:
        return
    width = max(map(len, ("gate", *funnel.gates)))
    yield f"  {'gate':{width}}  articles dropped  flagged  pairs dropped  flagged"
    for name, count in funnel.gates.items():
        yield (
            f"  {name:{width}}  {count.articles_dropped:16,}  {count.articles_flagged:7,}"
            f"  {count.pairs_dropped:13,}  {count.pairs_flagged:7,}"
        )


def _details(funnel: FunnelState) -> Iterator[str]:
    """Return what the short form has too."""
    pairs = funnel.pairs
    if pairs.by_kept:
        mean = pairs.kept / funnel.steps[ACCEPTED]
        yield (
            f"  pairs: {pairs.kept:,} of {pairs.written:,} written are kept "
            f"({_percent(pairs.kept, pairs.written).strip()}), {mean:.1f} a record; "
            f"records by pairs {_distribution(pairs.by_kept)}"
        )
    if funnel.attempts.keys() - {1}:
        others = ", ".join(f"{count:,} x {what}" for what, count in funnel.other_attempts.items())
        others = f"; other attempts: {others}" if others else ""
        yield f"  records by attempts {_distribution(funnel.attempts)}{others}"
    for reason, reject in funnel.rejects.items():
        ids = ", ".join(map(repr, reject.example_ids))
        yield f"  {reject.count:,} x {reason}, as id {ids}: {reject.message}"


def _distribution(counts: Mapping[int, int]) -> str:
    """Return counts by a number in order, as in "1: 20, 2: 300"."""
    items = [(str(number), count) for number, count in counts.items()]
    if len(items) > MAX_COUNTS:
        rest = items[MAX_COUNTS - 1 :]
        items = [*items[: MAX_COUNTS - 1], (f"{rest[0][0]}+", sum(count for _, count in rest))]
    return ", ".join(f"{number}: {count:,}" for number, count in items)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:6.1%}" if whole else f"{'-':>6}"
