"""
A claim is a job in our hands; an outcome is how it leaves them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rq.executions import Execution
from rq.job import Job, JobStatus

from contextvqa.errors import Reason
from contextvqa.jobs import JobSpec, Kind, record_of, reject_job
from contextvqa.queues import GENERATE
from contextvqa.records import ImageRecord, Rejection

#: Suspects that run together. Small, so that a poison record takes few innocents along.
SUSPECT_GROUP = 4

#: A job's hash as Redis gives it.
JobHash = dict[bytes, bytes]


@dataclass(slots=True, eq=False)
class Claim:
    """A job in our hands, and the execution that makes it ours."""

    job: Job
    execution: Execution
    crash_count: int
    retry_count: int
    #: Monotonic seconds.
    claimed_at: float = field(default_factory=time.monotonic)
    leased_at: float = field(default_factory=time.monotonic)

    @property
    def is_suspect(self) -> bool:
        """Whether a worker has died with this job in flight."""
        return self.crash_count > 0

    def attempted(self, record: ImageRecord) -> ImageRecord:
        """Return the record of a generate job with this try counted as an attempt."""
        return replace(record, attempt=record.attempt + self.retry_count)


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


class Returned(Outcome):
    """The job goes back to the head of its queue, as if it had not been claimed."""


class Retried(Outcome):
    """The job goes to the end of its queue for another try, which is counted."""


def rejected(claim: Claim, stage: str, reason: Reason, message: str) -> Failed:
    """Return the outcome that ends a job and has the refiner write its record's rejection."""
    text = f"{reason}: {message}"
    if claim.job.id.endswith(f"-{Kind.REJECT}"):
        return Failed(message=text)
    try:
        record = record_of(claim.job.kwargs)
    except Exception:  # noqa: BLE001 - whatever the payload is, no record can be read from it
        return Failed(message=text)
    if stage == GENERATE:
        record = claim.attempted(record)
    rejection = Rejection(record=record, stage=stage, reason=reason, message=message)
    return Failed(message=text, follow_ups=(reject_job(rejection),))


def select(queued: Sequence[tuple[Job, JobHash]], num_in_flight: int) -> list[tuple[Job, JobHash]]:
    """
    Choose which queued jobs to start together.

    All, unless there are suspects among them: then nothing while others are in flight, else a few
    suspects, and alone one that has crashed again in such a group.
    """
    suspects = [item for item in queued if count(item[1], b"crash_count")]
    if not suspects:
        return list(queued)
    if num_in_flight:
        return []
    worst = max(suspects, key=lambda item: count(item[1], b"crash_count"))
    return [worst] if count(worst[1], b"crash_count") > 1 else suspects[:SUSPECT_GROUP]


def is_ours(claim: Claim, fence: Sequence[bytes | None]) -> bool:
    """Whether the job's status and `execution_id` still name this claim's execution."""
    status, execution_id = fence
    return (
        status == JobStatus.STARTED.value.encode() and execution_id == claim.execution.id.encode()
    )


def count(hash_: JobHash, name: bytes) -> int:
    """Return a counter of ours in a job's hash, 0 where it never counted."""
    return int(hash_.get(name) or 0)
