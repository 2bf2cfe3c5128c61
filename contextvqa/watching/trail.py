"""
The trail of one record: what happened to it, in order, from its lines and its jobs.

Lines tell of what has ended, jobs of what is under way; a record that is generated again has both.
Only times that somebody has written down are told: where a host's clock was wrong, they are too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from contextvqa.queueing.jobs import QUEUES, Content, Kind, record_in
from contextvqa.queueing.queues import GENERATE, REFINE
from contextvqa.records import Generation, Rejection, to_payload
from contextvqa.storage.line_search import RunLine
from contextvqa.watching.live_jobs import JobView

#: What a line or a job tells of an attempt.
Told = Mapping[str, Any]


class Happening(StrEnum):
    """What may happen to a record."""

    #: Its generate job entered the queue.
    ENQUEUED = "enqueued"
    #: A worker took it.
    CLAIMED = "claimed"
    #: Its images were ready; the engine has it.
    GENERATING = "generating"
    #: The last token came.
    GENERATED = "generated"
    #: The attempt came to nothing; nobody wrote a text.
    FAILED = "failed"
    #: Attempts that failed before, of which no more is known.
    TRIED_BEFORE = "tried before"
    #: A worker that had it died.
    CRASHED = "crashed"
    #: It entered the queue of refiners.
    HANDED_OVER = "handed over"
    #: A refiner took it.
    REFINING = "refining"
    #: Its text was not good enough, and an attempt was left.
    JUDGED = "judged"
    #: Its line went to results.jsonl, or to rejects.jsonl.
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    #: Its last job ended in Redis, once the line was on disk.
    SETTLED = "settled"


#: By queue: a job enters it, a daemon takes it.
_STEPS = {
    GENERATE: (Happening.ENQUEUED, Happening.CLAIMED),
    REFINE: (Happening.HANDED_OVER, Happening.REFINING),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened to a record."""

    what: Happening
    #: Unix seconds; None where nobody wrote it down.
    time_s: float | None = None
    attempt: int | None = None
    worker: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` shows."""
        return {
            "time": None if self.time_s is None else iso(self.time_s),
            "event": self.what,
            "attempt": self.attempt,
            "worker": self.worker or None,
            "note": self.note or None,
        }


def iso(time_s: float) -> str:
    """Return a time as lines have it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


def events_of(
    results: Sequence[RunLine], rejects: Sequence[RunLine], jobs: Sequence[JobView]
) -> list[Event]:
    """Return what happened to a record, oldest first."""
    events = [event for line in (*rejects, *results) for event in _of_line(line)]
    told = {event.attempt for event in events}
    for job in jobs:
        if job.is_live:
            # What its lines tell of already is not told again.
            events += [event for event in _of_job(job) if event.attempt not in told]
    settled = [job.ended_at for job in jobs if job.kind is not Kind.GENERATE and job.ended_at]
    if told and settled and not any(job.is_live for job in jobs):
        events.append(Event(what=Happening.SETTLED, time_s=max(settled)))
    return events


def _of_line(line: RunLine) -> Iterator[Event]:
    meta = line["meta"]
    is_result = "context_vqa" in line
    number = meta.get("attempt", 1) if is_result else line["attempts"]
    own = {**meta, "attempt": number, "stage": line.get("stage")}
    attempts = [*meta.get("earlier", []), own, *map(_flat, meta.get("later", []))]
    refined = meta.get("refined")
    ended_s = _seconds(refined["ended_at"]) if refined else None
    handed_over = list(_of_claim(refined, attempts[-1]["attempt"], REFINE)) if refined else []
    yield from _of_attempts(attempts, handed_over, judged_s=ended_s)
    num_pairs = len(line["context_vqa"].get("qas", [])) if is_result else 0
    yield Event(
        what=Happening.ACCEPTED if is_result else Happening.REJECTED,
        time_s=ended_s,
        attempt=number,
        worker=refined["worker"] if refined else "",
        note=f"{num_pairs} pairs" if is_result else f"{line['reason']}: {line['message']}",
    )


def _flat(later: Told) -> Told:
    return {**later, **(later.get("written") or {})}


def _of_attempts(
    attempts: Sequence[Told], handed_over: Sequence[Event] = (), *, judged_s: float | None
) -> Iterator[Event]:
    """
    Tell of attempts, and of what was wrong with each that says so.

    Args:
        handed_over: How the last one came to a refiner, if that is known.
        judged_s: When the last one was judged, if that is known.

    """
    if not attempts:
        return
    executions = [list(_of_execution(told)) for told in attempts]
    executions[-1] += handed_over
    # Whoever judges a text enqueues the next attempt in the same transaction.
    times = [*(events[0].time_s if events else None for events in executions[1:]), judged_s]
    number = attempts[0]["attempt"]
    for told, events, time_s in zip(attempts, executions, times, strict=True):
        if told["attempt"] > number + 1:
            yield _tried_before(number + 1, told["attempt"] - 1)
        number = told["attempt"]
        yield from events
        if told.get("reason") and not told.get("failed"):
            note = str(told["reason"])
            yield Event(what=Happening.JUDGED, time_s=time_s, attempt=number, note=note)


def _tried_before(first: int, last: int) -> Event:
    which = f"attempt {first}" if first == last else f"attempts {first} to {last}"
    return Event(
        what=Happening.TRIED_BEFORE,
        attempt=last,
        note=f"{which} failed in a way that may pass; the worker's log says how",
    )


def _of_execution(told: Told) -> Iterator[Event]:
    """Tell of one attempt's generate job: its text, or how it failed."""
    attempt, failed = told["attempt"], told.get("failed")
    if told.get("generated_at") is not None:
        image_s, engine_s = told.get("image_s", 0.0), told.get("engine_s", 0.0)
        ended_s = _seconds(told["generated_at"])
        claim = {**told, "claimed_at": iso(ended_s - engine_s - image_s)}
        yield from _of_claim(claim, attempt, GENERATE)
        yield Event(
            what=Happening.GENERATING,
            time_s=ended_s - engine_s,
            attempt=attempt,
            note=f"images took {image_s} s",
        )
        yield Event(
            what=Happening.GENERATED,
            time_s=ended_s,
            attempt=attempt,
            note=f"{told.get('output_tokens')} tokens, {told.get('finish_reason')}",
        )
    if failed:
        yield from _of_claim(failed, attempt, str(told["stage"]))
        yield Event(
            what=Happening.FAILED,
            time_s=_seconds(failed["ended_at"]),
            attempt=attempt,
            worker=failed["worker"],
            note=str(told.get("reason", "")),
        )


def _of_claim(told: Told, attempt: int, stage: str) -> Iterator[Event]:
    """Tell of a job up to its claim."""
    entered, taken = _STEPS[stage]
    claimed_s = _seconds(told["claimed_at"])
    if told.get("queue_s") is not None:
        yield Event(what=entered, time_s=claimed_s - told["queue_s"], attempt=attempt)
    yield from _of_crashes(told.get("crashes", 0), attempt)
    yield Event(what=taken, time_s=claimed_s, attempt=attempt, worker=told["worker"])


def _of_crashes(number: int, attempt: int | None) -> Iterator[Event]:
    if number:
        note = f"{number} times" if number > 1 else "once"
        yield Event(what=Happening.CRASHED, attempt=attempt, note=note)


def _of_job(job: JobView) -> Iterator[Event]:
    """Tell of a live job: of the attempts that it carries, and of its own."""
    if job.content is not None:
        yield from _of_attempts(_carried(job.content), judged_s=job.enqueued_at)
    entered, taken = _STEPS[QUEUES[job.kind]]
    yield Event(what=entered, time_s=job.enqueued_at, attempt=job.attempt)
    if job.kind is Kind.GENERATE and job.retry_count and job.attempt:
        yield _tried_before(job.attempt - job.retry_count, job.attempt - 1)
    yield from _of_crashes(job.crash_count, job.attempt)
    if job.worker:
        yield Event(what=taken, time_s=job.started_at, attempt=job.attempt, worker=job.worker)


def _carried(content: Content) -> list[Told]:
    """Return the attempts that a job carries; the last of them may be what it is to settle."""
    record = record_in(content)
    attempts: list[Told] = [to_payload(attempt) for attempt in record.earlier]
    if isinstance(content, Generation):
        attempts.append({**to_payload(content.written), "attempt": record.attempt})
    elif isinstance(content, Rejection):
        attempts.append(_flat(to_payload(content.later_attempt())))
    return attempts


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
