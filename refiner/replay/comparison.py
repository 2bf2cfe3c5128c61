"""What changed between the lines of one run and those of another that judged its texts anew."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from contextvqa.gates import NAMES, Action, code_of
from contextvqa.records import RecordId
from refiner.replay.recorded import RunLine

#: The fields of a Comparison that are numbers.
_NUMBERS = (
    *("read", "changed", "lost", "partial"),
    *("accepted_before", "accepted_after", "pairs_before", "pairs_after"),
)
#: Ids that are named for each change and reason; all are counted.
MAX_EXAMPLES = 5
#: The reason of what no gate explains: the text is read otherwise.
PARSER = "parser"


class Change(StrEnum):
    """What is another one than before."""

    #: Accepted before, rejected now, for the reason of the new line.
    RESULT_TO_REJECT = "result_to_reject"
    #: Rejected before, for the reason of the old line, accepted now.
    REJECT_TO_RESULT = "reject_to_result"
    #: Rejected before and now, for the reason of the new line.
    REASON = "reason"
    #: Another attempt won; the reason is what is wrong with the one that won before.
    ATTEMPT = "attempt"
    #: Of the same text.
    ARTICLE = "article"
    #: Of the same text; the reasons are the gates that drop more of them than before, or fewer.
    PAIRS = "pairs"


@dataclass(slots=True)
class Found:
    """How often something changed, and where."""

    count: int = 0
    examples: list[RecordId] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Count the cases of another one with its own."""
        self.count += other.count
        self.examples = (self.examples + other.examples)[:MAX_EXAMPLES]


@dataclass(kw_only=True, slots=True)
class Comparison:
    """The lines of two runs compared, record by record."""

    read: int = 0
    accepted_before: int = 0
    accepted_after: int = 0
    pairs_before: int = 0
    pairs_after: int = 0
    #: Records of which anything changed.
    changed: int = 0
    #: Records by change; of one record several things may have changed.
    changes: Counter[Change] = field(default_factory=Counter)
    #: The same by change and reason; for one change there may be several reasons.
    reasons: dict[tuple[Change, str], Found] = field(default_factory=dict)
    #: See `Recorded`.
    lost: int = 0
    partial: int = 0

    def add(self, old: RunLine, new: RunLine) -> None:
        """Compare two lines of one record."""
        self.read += 1
        self.accepted_before += _is_result(old)
        self.accepted_after += _is_result(new)
        self.pairs_before += len(_qas(old))
        self.pairs_after += len(_qas(new))
        found = set(_changes(old, new))
        changes = {change for change, _ in found}
        self.changed += bool(found)
        self.changes.update(changes)
        for place in found:
            self.reasons.setdefault(place, Found()).add(Found(1, [old["id"]]))

    def merge(self, other: "Comparison") -> None:
        """Count what another one compared with its own."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.changes.update(other.changes)
        for place, found in other.reasons.items():
            self.reasons.setdefault(place, Found()).add(found)

    def reasons_of(self, change: Change) -> list[tuple[str, Found]]:
        """Return the reasons of a change, the most frequent first."""
        found = [(reason, cases) for (of, reason), cases in self.reasons.items() if of is change]
        return sorted(found, key=lambda item: (-item[1].count, item[0]))


def _changes(old: RunLine, new: RunLine) -> Iterator[tuple[Change, str]]:
    """Yield what changed, with a reason each."""
    match _is_result(old), _is_result(new):
        case True, False:
            yield Change.RESULT_TO_REJECT, new["reason"]
        case False, True:
            yield Change.REJECT_TO_RESULT, old["reason"]
        case False, False if old["reason"] != new["reason"]:
            yield Change.REASON, new["reason"]
        case True, True:
            yield from _changes_of_result(old, new)


def _changes_of_result(old: RunLine, new: RunLine) -> Iterator[tuple[Change, str]]:
    attempt, meta = old["meta"]["attempt"], new["meta"]
    if meta["attempt"] != attempt:
        others = [*meta.get("earlier", ()), *meta.get("later", ())]
        yield from (
            (Change.ATTEMPT, other["reason"]) for other in others if other["attempt"] == attempt
        )
        return
    if old["context_vqa"]["context"] != new["context_vqa"]["context"]:
        yield Change.ARTICLE, PARSER
    if _qas(old) != _qas(new):
        before, after = (_num_dropped(line) for line in (old, new))
        gates = [gate for gate in map(code_of, NAMES) if before[gate] != after[gate]]
        yield from ((Change.PAIRS, gate) for gate in gates or [PARSER])


def _is_result(line: RunLine) -> bool:
    return "context_vqa" in line


def _qas(line: RunLine) -> list[Any]:
    qas: list[Any] = line["context_vqa"]["qas"] if _is_result(line) else []
    return qas


def _num_dropped(line: RunLine) -> Counter[str]:
    """Count the pairs that each gate dropped."""
    checks = line["meta"]["checks"]
    return Counter(
        gate
        for gate in map(code_of, NAMES)
        for finding in checks.get(gate, ())
        if finding["action"] == Action.DROP
    )
