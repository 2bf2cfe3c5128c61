"""Which job carries which payload: one record is one job per stage, with an id of its own."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis.client import Pipeline
from rq import Queue

from contextvqa.errors import UsageError
from contextvqa.queues import GENERATE, REFINE, pending_key
from contextvqa.records import Generation, ImageRecord, Payload, Rejection, from_payload, to_payload

#: The one function that jobs of a queue may name. Never imported: the stage runs its own.
FUNCTIONS = {GENERATE: "worker.generate", REFINE: "refiner.refine"}

#: rq's job ids, which begin with the run's name, allow no other characters.
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

#: Ids as `job_id` makes them.
JOB_ID = re.compile(r"(?P<run>.+)-(?P<key>[0-9a-f]{32})-(?:generate|refine|reject)")

#: Our executions have their own deadlines. Without a value rq would write 180 s into the job.
NO_TIMEOUT = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """A job that is not in Redis yet."""

    queue: str
    #: "generate", "refine" or "reject": tells the jobs of one record apart.
    kind: str
    record: ImageRecord
    #: The keyword argument that the stage reads, and its payload.
    argument: str
    payload: dict[str, Any]

    @property
    def id(self) -> str:
        """The job's id in rq: the same for the same record and kind, always."""
        return job_id(self.record.run, self.record.key, self.kind)

    @property
    def description(self) -> str:
        """What `rq info` and rq-dashboard show."""
        return f"{self.kind} {self.record.run} {self.record.id}: {self.record.image[0]}"


def check_run_name(run: str) -> str:
    """Return the name, or raise UsageError where it cannot be part of a job id."""
    if not RUN_NAME.fullmatch(run):
        raise UsageError(
            f"run name {run!r} cannot be used: letters, digits, '-' and '_', at most 64, "
            "the first a letter or digit."
        )
    return run


def job_id(run: str, key: str, kind: str) -> str:
    """Return the id of one record's job of one kind."""
    return f"{run}-{key}-{kind}"


def job_ids(record: ImageRecord) -> tuple[str, str, str]:
    """Return the ids of all jobs that may carry this record."""
    generate, refine, reject = (
        job_id(record.run, record.key, kind) for kind in ("generate", "refine", "reject")
    )
    return generate, refine, reject


def run_and_key(identifier: str) -> tuple[str, str] | None:
    """Return the run and the record's key that a job id names; None for a job that is not ours."""
    match = JOB_ID.fullmatch(identifier)
    return (match["run"], match["key"]) if match else None


def generate_job(record: ImageRecord) -> JobSpec:
    """Return the job that asks a worker for a generation."""
    return JobSpec(
        queue=GENERATE,
        kind="generate",
        record=record,
        argument="record",
        payload=to_payload(record),
    )


def refine_job(generation: Generation) -> JobSpec:
    """Return the job that asks a refiner to read a generation."""
    return JobSpec(
        queue=REFINE,
        kind="refine",
        record=generation.record,
        argument="generation",
        payload=to_payload(generation),
    )


def reject_job(rejection: Rejection) -> JobSpec:
    """Return the job that asks a refiner to write a rejection down."""
    return JobSpec(
        queue=REFINE,
        kind="reject",
        record=rejection.record,
        argument="rejection",
        payload=to_payload(rejection),
    )


def record_of(arguments: Payload) -> ImageRecord:
    """
    Return the record that a job's keyword arguments carry, whichever kind of job it is.

    Raises:
        RejectError: There is none, as in a job left by an older version.

    """
    if "record" in arguments:
        return from_payload(arguments["record"], ImageRecord)
    carrier = next(iter(arguments.values()), None)
    found = carrier.get("record") if isinstance(carrier, dict) else None
    return from_payload(found if isinstance(found, dict) else {}, ImageRecord)


def buffer_enqueue(specs: Iterable[JobSpec], queue: Queue, pipeline: Pipeline) -> None:
    """Buffer the enqueueing of jobs of one queue; nothing is sent."""
    queue.enqueue_many(
        [
            Queue.prepare_data(
                FUNCTIONS[spec.queue],
                # rq-dashboard's workers page shows positional arguments: short and readable.
                args=(spec.record.run, spec.record.id),
                kwargs={spec.argument: spec.payload},
                timeout=NO_TIMEOUT,
                description=spec.description,
                job_id=spec.id,
            )
            for spec in specs
        ],
        pipeline=pipeline,
    )


def buffer_ended(identifier: str, pipeline: Pipeline) -> None:
    """Buffer that the record of a job is no longer on its way."""
    named = run_and_key(identifier)
    if named:
        run, key = named
        pipeline.srem(pending_key(run), key)
