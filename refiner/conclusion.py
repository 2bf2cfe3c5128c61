"""
What becomes of a record once its text is judged: its line, or another attempt.

All of it is pure: whoever concludes the same generation again comes to the same end.
"""

from collections.abc import Sequence
from dataclasses import replace

from contextvqa.errors import Reason
from contextvqa.queueing.queues import REFINE
from contextvqa.records import ContextVQA, Generation, ImageRecord, Rejection, Result, Visit
from contextvqa.run_config import RunConfig
from contextvqa.storage.sink import Line
from refiner.gates.judge import judge
from refiner.parser.parsing import Parsed, parse

#: How one attempt ended: what its line would be.
Ending = Result | Rejection


def conclude(
    generation: Generation, config: RunConfig, refined: Visit | None = None
) -> Line | ImageRecord:
    """
    Judge a generation.

    Args:
        refined: The execution in which that is done, for the line to tell.

    Returns:
        The record's line; or the record as it is to be generated again, where the text is not
        good enough and an attempt is left. When none is left, the best attempt wins.

    """
    ending = ending_of(generation, config)
    if num_pairs(ending) >= config.quality.enough_pairs:
        return line_of(ending, refined)
    again = generation.next_record(fault_of(ending).reason)
    if config.allows(again):
        return again
    return line_of(best([*_earlier(generation.record, config), ending]), refined)


def conclude_rejected(
    rejection: Rejection, config: RunConfig, refined: Visit | None = None
) -> Line:
    """Return the line of a record whose last attempt failed; an earlier one may be a result."""
    return line_of(best([*_earlier(rejection.record, config), rejection]), refined)


def best(endings: Sequence[Ending]) -> Ending:
    """
    Return the attempt with most pairs, the latest of equals, and with it those that came later.

    Args:
        endings: All attempts of a record, at least one, the oldest first.

    """
    winner = max(range(len(endings)), key=lambda number: (num_pairs(endings[number]), number))
    ending = endings[winner]
    if isinstance(ending, Rejection):
        return ending  # The last: no other has a pair.
    faults = [fault_of(later) for later in endings[winner + 1 :]]
    return replace(ending, later=tuple(fault.later_attempt() for fault in faults))


def ending_of(generation: Generation, config: RunConfig) -> Ending:
    """Parse and judge one generation."""
    parsed = parse(generation.text, generation.finish_reason)
    if not isinstance(parsed, Parsed):
        return _reject(generation, parsed.reason, parsed.message)
    judged = judge(parsed, generation.text, config.quality)
    if judged.reason is not None:
        return replace(_reject(generation, judged.reason, judged.message), checks=judged.checks())
    return Result(
        generation=generation,
        context_vqa=ContextVQA(context=parsed.context_vqa.context, qas=judged.qas),
        checks=judged.checks(),
    )


def num_pairs(ending: Ending) -> int:
    """Return the pairs of a result; 0 of a rejection."""
    return len(ending.context_vqa.qas) if isinstance(ending, Result) else 0


def fault_of(ending: Ending) -> Rejection:
    """Return what is wrong with an attempt that does not win."""
    if isinstance(ending, Rejection):
        return ending
    message = f"{num_pairs(ending)} pairs passed, too few, or fewer than of another attempt."
    return _reject(ending.generation, Reason.GATE_MIN_PAIRS, message)


def line_of(ending: Ending, refined: Visit | None = None) -> Line:
    """Return the line that makes it known."""
    is_result = isinstance(ending, Result)
    record = ending.generation.record if isinstance(ending, Result) else ending.record
    return Line(key=record.key, data=ending.to_line(refined), is_result=is_result)


def _earlier(record: ImageRecord, config: RunConfig) -> list[Ending]:
    return [ending_of(generation, config) for generation in record.earlier_generations()]


def _reject(generation: Generation, reason: Reason, message: str) -> Rejection:
    return Rejection(
        record=generation.record,
        stage=REFINE,
        reason=reason,
        message=message,
        written=generation.written,
    )
