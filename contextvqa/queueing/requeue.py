"""Requeue one failed job by its id: its record is generated again, as another attempt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis
from redis.client import Pipeline
from rq.job import JobStatus

from contextvqa.errors import RejectError
from contextvqa.queueing import bookkeeping
from contextvqa.queueing.job_hash import (
    MAX_PAYLOAD_BYTES,
    Execution,
    JobFields,
    StoredJob,
    reading,
    too_large,
)
from contextvqa.queueing.jobs import Kind, job_id, run_and_key
from contextvqa.queueing.outcomes import Claim, read_record
from contextvqa.queueing.queues import LIVE, job_key
from contextvqa.queueing.runs import Runs
from contextvqa.queueing.transactions import ask, transact
from contextvqa.records import ImageRecord


def requeue(connection: redis.Redis, failed_id: str) -> str | None:
    """
    Do for one failed job what `contextvqa retry` does for a reject.

    rq's own requeue would run the very job again: the same attempt with the same seed, its crashes
    still counted against it, its record not pending, and beside a rejection that is not written
    yet. May be repeated at any time.

    Returns:
        Why nothing was enqueued; None when it was.

    Raises:
        redis.RedisError: Redis does not answer.

    """
    named = run_and_key(failed_id)
    if named is None:
        return "it is no job of a record"
    try:
        return _requeue(connection, failed_id, [job_id(*named, kind) for kind in Kind])
    except redis.ResponseError as error:
        # Memory is full, or somebody wrote something else where a job belongs.
        return f"Redis refuses it: {error}"


def _requeue(connection: redis.Redis, failed_id: str, job_ids: Sequence[str]) -> str | None:
    (size,) = ask(connection, [("HSTRLEN", job_key(failed_id), "data")])
    if size > MAX_PAYLOAD_BYTES:
        return too_large(size)

    def write(pipeline: Pipeline, rows: list[Any]) -> str | None:
        fields = dict(zip(job_ids, (JobFields(*row) for row in rows), strict=True))
        refusal = _refusal(fields[failed_id], list(fields.values()))
        if refusal is None:
            try:
                record = _next_attempt(StoredJob.read(failed_id, fields[failed_id]))
            except RejectError as error:
                return f"it holds no record: {error}"
            if (lost := Runs(connection).what_is_lost(record)) is not None:
                return lost
            bookkeeping.enter(pipeline, connection, [record])
        return refusal

    return transact(connection, [job_key(name) for name in job_ids], reading(job_ids), write)


def _refusal(failed: JobFields, of_record: Sequence[JobFields]) -> str | None:
    if any(fields.status in LIVE for fields in of_record):
        return "its record is on its way, or its rejection is not written yet"
    if failed.status != JobStatus.FAILED.value.encode():
        return "it is no failed job any more"
    return None


def _next_attempt(job: StoredJob) -> ImageRecord:
    """Return the record of a failed job as it is tried again."""
    claim = Claim(job=job, execution=Execution(job.id, ""))
    record = read_record(claim)
    if job.id.endswith(f"-{Kind.GENERATE}"):
        record = claim.attempted(record)
    return replace(record, attempt=record.attempt + 1, earlier=())
