"""
The funnel of a run: how many of its records came how far, and what became of their pairs.

Read from the two files alone, each line once. A line of rejects.jsonl counts until its key has a
result or a later reject. Only the indexes of the files know that, so what was counted of rejects is
compared with them at every look: more lines than keys without a result mean that some line counts no
more, and the lines of that file, the short one of the two, are counted anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import msgspec

from contextvqa.errors import Reason
from contextvqa.gates import GATE, NAMES
from contextvqa.storage.follower import Follower, OnRead
from contextvqa.storage.rejects import Rejects
from contextvqa.storage.snapshot import Part
from contextvqa.watching.tally import (
    GENERATED,
    PARSED,
    Findings,
    GateCount,
    Line,
    RejectCount,
    Tally,
    read,
)

#: The first and the last step, and those between them in their order.
RECORDS, ACCEPTED = "records", "accepted"
STEPS = (GENERATED, PARSED, *(reason.value for reason in Reason if reason.startswith(GATE)))

K = TypeVar("K", int, str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """The pairs of accepted records: those that their texts have, and those that were kept."""

    written: int
    kept: int
    #: Records by their pairs.
    by_written: dict[int, int]
    by_kept: dict[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class FunnelState:
    """The funnel at one moment."""

    #: How many records came past each step; the first has all that ended, the last the accepted.
    steps: dict[str, int]
    pairs: Pairs
    #: Records by the attempts that were made.
    attempts: dict[int, int]
    #: Attempts whose text did not become the record's line, by reason.
    other_attempts: dict[str, int]
    #: What each gate found in accepted and rejected records.
    gates: dict[str, GateCount]
    #: By reason, most frequent first.
    rejects: dict[str, RejectCount]


class _Counted:
    """
    A file's tally, as a follower makes it.

    Args:
        add: Counts a line of that file.
        counts: Whether a line is to be counted.

    """

    what: ClassVar[str] = "funnel"
    version: ClassVar[int] = 1

    def __init__(
        self, add: Callable[[Tally, Line, Findings], None], counts: Callable[[Line], bool]
    ) -> None:
        self.tally = Tally()
        self._add = add
        self._counts = counts

    def read(self, line: bytes) -> tuple[Line, Findings]:
        return read(line)

    def note(self, entries: Sequence[tuple[Line, Findings]]) -> None:
        for line, findings in entries:
            if self._counts(line):
                self._add(self.tally, line, findings)

    def parts(self) -> list[Part]:
        return [msgspec.json.encode(self.tally)]

    def restore(self, parts: Sequence[bytes]) -> None:
        (part,) = parts
        self.tally = msgspec.json.decode(part, type=Tally)


class Funnel:
    """The funnel of one run; each look reads only what is new."""

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._of_results = Follower(
            rejects.results.path, lambda: _Counted(Tally.add_result, lambda _: True)
        )
        self._of_rejects = Follower(
            rejects.rejects.path, lambda: _Counted(Tally.add_reject, self._counts)
        )

    def look(self, on_read: OnRead) -> FunnelState:
        """
        Return the funnel as of the last `follow` of the rejects.

        Args:
            on_read: Told how many bytes of both files are read, and how many there are.

        Raises:
            RunError: A line is damaged.

        """
        num_results, num_rejects = self._rejects.results.offset, self._rejects.rejects.offset
        num_bytes = num_results + num_rejects
        self._of_results.follow(
            end=num_results, on_read=lambda offset, _: on_read(offset, num_bytes)
        )
        follow = partial(
            self._of_rejects.follow,
            end=num_rejects,
            on_read=lambda offset, _: on_read(num_results + offset, num_bytes),
        )
        follow()
        if self._of_rejects.contents.tally.num_records != self._rejects.num_counting:
            self._of_rejects.forget()
            follow()
        return _state(self._of_results.contents.tally, self._of_rejects.contents.tally)

    def _counts(self, line: Line) -> bool:
        return self._rejects.counts_at(line.meta.key, line.attempt)


def _state(results: Tally, rejects: Tally) -> FunnelState:
    both = (results, rejects)
    return FunnelState(
        steps=_steps(results, rejects),
        pairs=Pairs(
            written=_sum(results.by_written),
            kept=_sum(results.by_kept),
            by_written=dict(sorted(results.by_written.items())),
            by_kept=dict(sorted(results.by_kept.items())),
        ),
        attempts=dict(sorted(_added(tally.attempts for tally in both).items())),
        other_attempts=_by_number(_added(tally.other_attempts for tally in both)),
        gates=_gates(both),
        rejects=dict(sorted(rejects.rejects.items(), key=lambda item: -item[1].count)),
    )


def _steps(results: Tally, rejects: Tally) -> dict[str, int]:
    left = results.num_records + rejects.num_records
    steps = {RECORDS: left}
    # With those of another version at the end.
    for step in dict.fromkeys((*STEPS, *rejects.failed_steps)):
        left -= rejects.failed_steps.get(step, 0)
        steps[step] = left
    return steps | {ACCEPTED: results.num_records}


def _gates(tallies: Iterable[Tally]) -> dict[str, GateCount]:
    """Return the findings of both files, in the order of the gates."""
    gates: dict[str, GateCount] = {}
    for tally in tallies:
        for name, count in tally.gates.items():
            before = msgspec.structs.astuple(gates.get(name, GateCount()))
            after = zip(before, msgspec.structs.astuple(count), strict=True)
            gates[name] = GateCount(*map(sum, after))
    return {name: gates[name] for name in dict.fromkeys((*NAMES, *gates)) if name in gates}


def _added(counts: Iterable[dict[K, int]]) -> dict[K, int]:
    sums: dict[K, int] = {}
    for some in counts:
        for what, number in some.items():
            sums[what] = sums.get(what, 0) + number
    return sums


def _by_number(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _sum(by_pairs: dict[int, int]) -> int:
    return sum(num_pairs * num_records for num_pairs, num_records in by_pairs.items())
