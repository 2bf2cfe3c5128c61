"""
What becomes of a record once its text is judged: its line, or another attempt.

All of it is pure: whoever concludes the same generation again comes to the same end.
"""

from dataclasses import dataclass

from contextvqa.errors import Reason
from contextvqa.queues import REFINE
from contextvqa.records import Checks, ContextVQA, Generation, ImageRecord, Rejection, Result
from contextvqa.run_config import RunConfig
from contextvqa.sink import Line
from refiner.gates.judge import judge
from refiner.parser import Parsed, parse


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One generation, parsed and judged."""

    generation: Generation
    #: Article and pairs kept; None where it makes no record.
    context_vqa: ContextVQA | None
    checks: Checks
    #: Why it makes no record, and the same for people.
    reason: Reason | None = None
    message: str = ""

    @property
    def num_pairs(self) -> int:
        """Pairs of a record; 0 of none."""
        return len(self.context_vqa.qas) if self.context_vqa else 0

    def line(self) -> Line:
        """Return the record's line, whose `attempts` are all that there were."""
        if self.context_vqa is not None:
            result = Result(
                generation=self.generation, context_vqa=self.context_vqa, checks=self.checks
            )
            return Line(key=self.generation.record.key, data=result.to_line(), is_result=True)
        assert self.reason is not None  # noqa: S101 - what makes no record has one
        return rejection_line(
            Rejection(
                record=self.generation.record,
                stage=REFINE,
                reason=self.reason,
                message=self.message,
                vqa=self.generation.text,
                checks=self.checks,
            )
        )


def conclude(generation: Generation, config: RunConfig) -> Line | ImageRecord:
    """
    Judge a generation.

    Returns:
        The record's line; or the record as it is to be generated again, where the text is not
        good enough and an attempt is left. When none is left, the attempt with most pairs wins.

    """
    verdict = _judge(generation, config)
    if verdict.num_pairs >= config.quality.enough_pairs:
        return verdict.line()
    again = generation.next_record(verdict.reason or Reason.GATE_MIN_PAIRS)
    if config.allows(again):
        return again
    verdicts = [verdict, *_earlier(generation.record, config)]
    return max(verdicts, key=lambda verdict: verdict.num_pairs).line()


def conclude_rejected(rejection: Rejection, config: RunConfig) -> Line:
    """Return the line of a record whose last attempt failed; an earlier one may be a result."""
    best = max(
        _earlier(rejection.record, config), key=lambda verdict: verdict.num_pairs, default=None
    )
    return best.line() if best is not None and best.num_pairs else rejection_line(rejection)


def rejection_line(rejection: Rejection) -> Line:
    """Return the line of rejects.jsonl."""
    return Line(key=rejection.record.key, data=rejection.to_line(), is_result=False)


def _earlier(record: ImageRecord, config: RunConfig) -> list[Verdict]:
    return [_judge(generation, config) for generation in record.earlier_generations()]


def _judge(generation: Generation, config: RunConfig) -> Verdict:
    parsed = parse(generation.text, generation.finish_reason)
    if not isinstance(parsed, Parsed):
        return Verdict(
            generation=generation,
            context_vqa=None,
            checks={},
            reason=parsed.reason,
            message=parsed.message,
        )
    judged = judge(parsed, generation.text, config.quality)
    found = ContextVQA(context=parsed.context_vqa.context, qas=judged.qas)
    return Verdict(
        generation=generation,
        context_vqa=found if judged.is_accepted else None,
        checks=judged.checks(),
        reason=judged.reason,
        message=judged.message,
    )
