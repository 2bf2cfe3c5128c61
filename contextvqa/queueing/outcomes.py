"""
A claim is a job in our hands; an outcome is how it leaves them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rq.job import JobStatus

from contextvqa.errors import Reason, RejectError
from contextvqa.queueing.job_hash import MAX_COUNT, Execution, StoredJob
from contextvqa.queueing.jobs import (
    Content,
    JobSpec,
    Kind,
    content_of,
    record_in,
    record_of,
    reject_job,
    run_and_key,
)
from contextvqa.queueing.queues import GENERATE
from contextvqa.records import (
    Attempt,
    Generation,
    ImageRecord,
    Payload,
    Rejection,
    Visit,
    from_payload,
)

#: Suspects that run together. Small, so that a poison record takes few innocents along.
SUSPECT_GROUP = 4


@dataclass(slots=True, eq=False)
class Claim:
    """A job in our hands, and the execution that makes it ours."""

    job: StoredJob
    execution: Execution
    #: Monotonic seconds.
    claimed_at: float = field(default_factory=time.monotonic)
    leased_at: float = field(default_factory=time.monotonic)

    @property
    def is_suspect(self) -> bool:
        """Whether a worker has died with this job in flight."""
        return self.job.crash_count > 0

    @property
    def queue_s(self) -> float | None:
        """Seconds from enqueueing to claim, where the job says when it was enqueued."""
        if self.job.enqueued_at is None:
            return None
        return round(_clock_time(self.claimed_at) - self.job.enqueued_at, 3)

    def visit(self) -> Visit:
        """Return this execution as one that ends now."""
        return Visit(
            worker=self.execution.worker,
            claimed_at=_iso(_clock_time(self.claimed_at)),
            ended_at=_iso(time.time()),
            queue_s=self.queue_s,
            crashes=self.job.crash_count,
        )

    @property
    def log_fields(self) -> dict[str, str]:
        """What log lines about it carry; nothing for a job that is not ours."""
        named = run_and_key(self.job.id)
        return dict(zip(("run", "key"), named, strict=True)) if named else {}

    def attempted(self, record: ImageRecord) -> ImageRecord:
        """Return the record of a generate job with this try counted as an attempt."""
        return replace(record, attempt=record.attempt + self.job.retry_count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a claim ends, with the jobs that are enqueued in the same transaction."""

    follow_ups: tuple[JobSpec, ...] = ()


class Finished(Outcome):
    """The execution did its work; the record goes on as `follow_ups`, or has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed(Outcome):
    """The job ends as failed in rq; `follow_ups` carry the record's rejection."""

    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned(Outcome):
    """The job goes back to the head of its queue, as if it had not been claimed."""

    #: Its worker or engine died with it in flight, which is counted.
    has_crashed: bool = False


class Retried(Outcome):
    """The job goes to the end of its queue for another try, which is counted."""


def read_content(claim: Claim, queue: str) -> Content:
    """
    Return what a job of this queue carries, of the record that its id names.

    Raises:
        RejectError: Something else, as in a job that somebody made by hand.

    """
    _, arguments = claim.job.content
    content = content_of(arguments, queue)
    _check_name(claim, record_in(content))
    return content


def read_record(claim: Claim) -> ImageRecord:
    """
    Return the record that a job carries, even where what was made of it is unreadable.

    Raises:
        RejectError: There is none, or not the one that its id names.

    """
    _, arguments = claim.job.content
    record = record_of(arguments)
    _check_name(claim, record)
    return record


def _check_name(claim: Claim, record: ImageRecord) -> None:
    if run_and_key(claim.job.id) != (record.run, record.key):
        message = f"the job carries record {record.key} of run {record.run!r}, its id names another"
        raise RejectError(Reason.MALFORMED, message)
    if record.attempt > MAX_COUNT:
        # Where counting ends, one forged line would end `retry` for all.
        raise RejectError(Reason.MALFORMED, f"the job is of attempt {record.attempt:,}")


def crashed(claim: Claim, stage: str, max_crashes: int) -> Outcome:
    """Return the outcome of a claim whose worker or engine died: another try, if any is left."""
    if claim.job.crash_count < max_crashes:
        return Returned(has_crashed=True)
    message = (
        f"in flight at {claim.job.crash_count + 1} crashes of its worker, "
        f"more than --max-crashes {max_crashes}"
    )
    return rejected(claim, stage, Reason.CRASHED, message)


def rejected(claim: Claim, stage: str, reason: Reason, message: str) -> Failed:
    """Return the outcome that ends a job and has the refiner write its record's rejection."""
    # A path may hold any bytes, and JSON cannot.
    message = message.encode("utf-8", "replace").decode()
    text = f"{reason}: {message}"
    if claim.job.id.endswith(f"-{Kind.REJECT}"):
        return Failed(message=text)
    try:
        record = read_record(claim)
    except RejectError:
        return Failed(message=text)
    if stage == GENERATE:
        record = claim.attempted(record)
    rejection = Rejection(
        record=record,
        stage=stage,
        reason=reason,
        message=message,
        written=_written(claim.job.content[1]),
        failed=claim.visit(),
    )
    return Failed(message=text, follow_ups=(reject_job(rejection),))


def _clock_time(monotonic_s: float) -> float:
    """Return the time of day of a moment, in Unix seconds."""
    return time.time() - (time.monotonic() - monotonic_s)


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


def _written(arguments: Payload) -> Attempt | None:
    """Return what the model wrote, where a job carries it whole."""
    try:
        return from_payload(arguments.get("generation", {}), Generation).written
    except RejectError:
        return None


def select(queued: Sequence[StoredJob], num_in_flight: int) -> list[StoredJob]:
    """
    Choose which queued jobs to start together.

    All, unless there are suspects among them: then nothing while others are in flight, else a few
    suspects, and alone one that has crashed again in such a group.
    """
    suspects = [job for job in queued if job.crash_count]
    if not suspects:
        return list(queued)
    if num_in_flight:
        return []
    worst = max(suspects, key=lambda job: job.crash_count)
    return [worst] if worst.crash_count > 1 else suspects[:SUSPECT_GROUP]


def is_ours(execution: Execution, fence: Sequence[bytes | None]) -> bool:
    """Whether the job's status and `execution_id` still name this execution."""
    status, execution_id = fence
    return status == JobStatus.STARTED.value.encode() and execution_id == execution.id.encode()
