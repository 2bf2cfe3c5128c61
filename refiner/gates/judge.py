"""The judge: which pairs of a parsed text are kept, whether it is accepted, and why not."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from contextvqa.errors import Reason, one_line
from contextvqa.gates import Action, Quality, code_of
from contextvqa.records import QA, Checks
from refiner.gates.table import GATES, Evidence, Gate
from refiner.gates.texts import Span, read_article, read_pair
from refiner.parser.parsing import Parsed


class Finding(NamedTuple):
    """What one gate found."""

    gate: Gate
    #: `flag` or `drop`.
    action: Action
    evidence: str
    #: The pair's place among those that the parser found, from 0; None for the article.
    pair: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A parsed text as judged."""

    #: The pairs that no gate dropped, in their order.
    qas: tuple[QA, ...]
    #: Their places among those that the parser found, from 0.
    kept: tuple[int, ...]
    #: For each pair kept, where its answers stand in the context; see `Pair.spans`. None where no
    #: gate looks for them.
    spans: tuple[tuple[Span | None, ...], ...]
    findings: tuple[Finding, ...]
    #: Why the record is rejected; None where it is accepted.
    reason: Reason | None = None
    #: Why, in one line for people.
    message: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the record is good enough."""
        return self.reason is None

    def checks(self) -> Checks:
        """Return `meta.checks`; docs/quality.md describes it."""
        checks: dict[str, Any] = {}
        for finding in self.findings:
            entry: dict[str, Any] = {} if finding.pair is None else {"pair": finding.pair}
            entry |= {"action": finding.action, "evidence": finding.evidence}
            checks.setdefault(code_of(finding.gate.name), []).append(entry)
        if any(fault.pair is not None and fault.action is Action.DROP for fault in self.findings):
            checks["kept"] = self.kept
        if self.spans:
            checks["spans"] = self.spans
        return checks


def judge(parsed: Parsed, text: str, quality: Quality) -> Judged:
    """
    Judge what was parsed of a text by the gates of its run.

    Pure; the time is linear in the length of the text. All gates are asked, whatever the others
    found: `findings` is complete, and in the order of the gates within article and pairs.
    """
    found = parsed.context_vqa
    article = read_article(text, found.context, quality, is_truncated=parsed.is_truncated)
    of_article, of_pair = _asked(tuple(quality.actions.items()))
    findings = [
        Finding(gate, action, evidence)
        for gate, action, check in of_article
        if (evidence := check(article))
    ]
    reason, message = _first_drop(findings)
    kept: list[int] = []
    spans: list[tuple[Span | None, ...]] = []
    questions: set[str] = set()
    for index, qa in enumerate(found.qas):
        pair = read_pair(qa, article, questions)
        faults = [
            Finding(gate, action, evidence, index)
            for gate, action, check in of_pair
            if (evidence := check(article, pair))
        ]
        findings += faults
        if not any(fault.action is Action.DROP for fault in faults):
            kept.append(index)
            spans.append(pair.spans)
            questions.add(pair.key)
    if reason is None and len(kept) < quality.min_pairs:
        reason, message = Reason.GATE_MIN_PAIRS, _too_few(len(kept), findings, quality)
    return Judged(
        qas=tuple(found.qas[index] for index in kept),
        kept=tuple(kept),
        spans=tuple(spans) if _looks_for_answers(quality) else (),
        findings=tuple(findings),
        reason=reason,
        message=message,
    )


Checked = tuple[Gate, Action, Callable[..., Evidence]]


@lru_cache
def _asked(actions: tuple[tuple[str, Action], ...]) -> tuple[list[Checked], list[Checked]]:
    """Return the gates that are not off, with what they ask of the article, and of each pair."""
    quality = Quality(actions=dict(actions))
    on = [(gate, quality.action(gate.name)) for gate in GATES]
    on = [(gate, action) for gate, action in on if action is not Action.OFF]
    return (
        [(gate, action, gate.of_article) for gate, action in on if gate.of_article],
        [(gate, action, gate.of_pair) for gate, action in on if gate.of_pair],
    )


def _looks_for_answers(quality: Quality) -> bool:
    return any(quality.action(gate) is not Action.OFF for gate in ("cap", "cap_partial"))


def _first_drop(findings: Sequence[Finding]) -> tuple[Reason | None, str]:
    for finding in findings:
        if finding.action is Action.DROP:
            message = f"{finding.gate.fault}: {finding.evidence}"
            return Reason(code_of(finding.gate.name)), one_line(message)
    return None, ""


def _too_few(num_kept: int, findings: Sequence[Finding], quality: Quality) -> str:
    dropped = Counter(
        finding.gate.name
        for finding in findings
        if finding.pair is not None and finding.action is Action.DROP
    )
    by_gate = ", ".join(f"{name} {count}" for name, count in dropped.most_common())
    return (
        f"{num_kept} pairs passed, expected {quality.min_pairs} or more; "
        f"dropped by {by_gate or 'none: the text has no more'}."
    )
