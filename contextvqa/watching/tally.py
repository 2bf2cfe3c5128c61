"""
What the lines of a run's two files say of its records, added up.

Only the fields that are counted are decoded, whatever else a line carries; what an older version did
not write yet counts as nothing.
"""

from typing import Any, TypeVar

import msgspec

from contextvqa.gates import GATE, Action
from contextvqa.queueing.queues import GENERATE

#: Records named as examples of a reason.
MAX_EXAMPLES = 3
#: The steps that a record comes past before the gates.
GENERATED, PARSED = "generated", "parsed"

T = TypeVar("T", int, str)


class Other(msgspec.Struct):
    """An attempt beside the one that a line is of."""

    attempt: int
    reason: str


class Meta(msgspec.Struct):
    """What is counted of a line's `meta`."""

    key: str
    attempt: int = 1
    earlier: list[Other] = []
    later: list[Other] = []
    checks: dict[str, msgspec.Raw] = {}


class Article(msgspec.Struct):
    """What is counted of a result."""

    qas: list[msgspec.Raw] = []


class Line(msgspec.Struct):
    """What is counted of a line of one of the two files."""

    meta: Meta
    id: Any = ""
    # Of results
    context_vqa: Article = msgspec.field(default_factory=Article)
    # Of rejects
    stage: str | None = None
    reason: str | None = None
    message: str | None = None
    attempts: int | None = None

    @property
    def attempt(self) -> int:
        """The attempt that it is of."""
        return self.attempts or self.meta.attempt

    @property
    def failed_step(self) -> str:
        """The step that a reject did not come past."""
        reason = str(self.reason)
        if reason.startswith(GATE):
            return reason
        return GENERATED if self.stage == GENERATE else PARSED


class Finding(msgspec.Struct):
    """What a gate found in an article, or in a pair."""

    action: str
    pair: int | None = None

    @property
    def is_drop(self) -> bool:
        """Whether that was dropped."""
        return self.action == Action.DROP


#: What the gates found in one text, each time with the gate.
Findings = list[tuple[str, Finding]]

_decode = msgspec.json.Decoder(Line).decode
_decode_findings = msgspec.json.Decoder(list[Finding]).decode


def read(data: bytes) -> tuple[Line, Findings]:
    """
    Decode what is counted of a line.

    Raises:
        msgspec.MsgspecError: It is no line of these files.

    """
    line = _decode(data)
    findings = [
        (code.removeprefix(GATE), finding)
        for code, found in line.meta.checks.items()
        if code.startswith(GATE)
        for finding in _decode_findings(found)
    ]
    return line, findings


class GateCount(msgspec.Struct):
    """How often a gate found something."""

    articles_dropped: int = 0
    articles_flagged: int = 0
    pairs_dropped: int = 0
    pairs_flagged: int = 0

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        if finding.pair is None:
            self.articles_dropped += finding.is_drop
            self.articles_flagged += not finding.is_drop
        else:
            self.pairs_dropped += finding.is_drop
            self.pairs_flagged += not finding.is_drop


class RejectCount(msgspec.Struct):
    """How often a run rejected for one reason, and the first records to look at."""

    count: int = 0
    example_ids: list[Any] = []
    #: Of the first.
    message: str = ""


class Tally(msgspec.Struct):
    """The counts of one file."""

    num_records: int = 0
    #: Accepted records by the pairs that their texts have, and by those that were kept.
    by_written: dict[int, int] = {}
    by_kept: dict[int, int] = {}
    #: Records by the attempts that were made.
    attempts: dict[int, int] = {}
    #: Attempts whose text did not become the record's line, by reason.
    other_attempts: dict[str, int] = {}
    gates: dict[str, GateCount] = {}
    #: Rejects by the step that they did not come past.
    failed_steps: dict[str, int] = {}
    rejects: dict[str, RejectCount] = {}

    def add_result(self, line: Line, findings: Findings) -> None:
        """Count an accepted record."""
        self._add(line, findings)
        dropped = {found.pair for _, found in findings if found.is_drop and found.pair is not None}
        num_kept = len(line.context_vqa.qas)
        _count(self.by_kept, num_kept)
        _count(self.by_written, num_kept + len(dropped))

    def add_reject(self, line: Line, findings: Findings) -> None:
        """Count a rejected record."""
        self._add(line, findings)
        _count(self.failed_steps, line.failed_step)
        reject = self.rejects.setdefault(str(line.reason), RejectCount())
        if not reject.count:
            reject.message = str(line.message)
        if reject.count < MAX_EXAMPLES:
            reject.example_ids.append(line.id)
        reject.count += 1

    def _add(self, line: Line, findings: Findings) -> None:
        """Count what both have."""
        self.num_records += 1
        others = [*line.meta.earlier, *line.meta.later]
        _count(self.attempts, max([line.attempt, *(other.attempt for other in others)]))
        for other in others:
            _count(self.other_attempts, other.reason)
        for gate, finding in findings:
            self.gates.setdefault(gate, GateCount()).add(finding)


def _count(counts: dict[T, int], what: T) -> None:
    counts[what] = counts.get(what, 0) + 1
