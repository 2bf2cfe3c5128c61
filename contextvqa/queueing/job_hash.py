"""
What Redis holds of a job and of an execution, read with distrust: whoever can write there may have
written it.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from contextvqa.errors import Reason, RejectError
from contextvqa.queueing.queues import OrjsonSerializer, execution_key, job_key
from contextvqa.records import Payload

#: Most bytes of a job's payload, packed or not: twice the longest input row.
MAX_PAYLOAD_BYTES = 32 << 20

#: No counter of ours gets there.
MAX_COUNT = 1_000_000

#: Ids that rq takes, and with the execution the names in its registries.
ANY_JOB_ID = re.compile(r"[A-Za-z0-9_-]+")
EXECUTION = re.compile(r"(?P<job>[A-Za-z0-9_-]+):(?P<execution>[A-Za-z0-9_-]+)")


class JobFields(NamedTuple):
    """The fields of a job's hash that we read, None where it has none: no job has no data."""

    data: bytes | None
    status: bytes | None
    execution_id: bytes | None
    crash_count: bytes | None
    retry_count: bytes | None
    enqueued_at: bytes | None
    started_at: bytes | None

    @property
    def fence(self) -> tuple[bytes | None, bytes | None]:
        """What says whose the job is."""
        return self.status, self.execution_id


class Execution(NamedTuple):
    """One execution of one job, by one worker."""

    job_id: str
    id: str
    worker: str = ""

    @property
    def key(self) -> str:
        """Its hash."""
        return execution_key(self.job_id, self.id)

    @property
    def composite_key(self) -> str:
        """Its name in rq's registries."""
        return f"{self.job_id}:{self.id}"


@dataclass(frozen=True)
class StoredJob:
    """A job as Redis holds it. Its payload is decoded on first use."""

    id: str
    #: What the serializer wrote.
    data: bytes
    crash_count: int
    retry_count: int
    #: Unix seconds, of the clock of whoever enqueued it; None where its hash does not say.
    enqueued_at: float | None = None

    @classmethod
    def read(cls, job_id: str, fields: JobFields) -> "StoredJob":
        """
        Read a job's fields; its payload stays as it is.

        Raises:
            RejectError: They are no job's.

        """
        if fields.data is None:
            raise RejectError(Reason.MALFORMED, "the job's hash is not one of rq: it has no data")
        return cls(
            job_id,
            _unpacked(fields.data),
            crash_count=count(fields.crash_count),
            retry_count=count(fields.retry_count),
            enqueued_at=time_of(fields.enqueued_at),
        )

    @property
    def key(self) -> str:
        """Its hash."""
        return job_key(self.id)

    @cached_property
    def content(self) -> tuple[str, Payload]:
        """
        The function that it names, and its keyword arguments.

        Raises:
            RejectError: It holds no JSON, or not that of a job.

        """
        try:
            function, _, _, arguments = OrjsonSerializer.loads(self.data)
        except (ValueError, TypeError) as error:
            raise RejectError(
                Reason.MALFORMED, f"the job holds no JSON of a job: {error}"
            ) from error
        if not isinstance(function, str) or not isinstance(arguments, dict):
            raise RejectError(Reason.MALFORMED, "the job names no function or carries no payload")
        return function, arguments


def text_of(value: object) -> str:
    """Return bytes of Redis as text, whatever they are."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def job_ids_in(members: Any) -> list[str]:
    """Return the job ids among the members of a list or registry, each once."""
    names = map(text_of, members)
    return [name for name in dict.fromkeys(names) if ANY_JOB_ID.fullmatch(name)]


def executions_in(members: Any) -> list[Execution]:
    """Return the executions among the members of a registry; their workers are not known."""
    found = (EXECUTION.fullmatch(text_of(name)) for name in members)
    return [Execution(match["job"], match["execution"]) for match in found if match]


def reading(job_ids: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the commands whose replies are the `JobFields` of these jobs."""
    return [("HMGET", job_key(job_id), *JobFields._fields) for job_id in job_ids]


def count(value: bytes | None, *, most: int = MAX_COUNT) -> int:
    """Return a counter in a hash, 0 where it never counted."""
    try:
        return min(max(int(value or 0), 0), most)
    except ValueError:
        return 0


def time_of(value: bytes | None) -> float | None:
    """Return a time in a job's hash, as rq writes them, in Unix seconds; None where it has none."""
    try:
        return datetime.fromisoformat((value or b"").decode()).timestamp()
    except (ValueError, OverflowError):
        return None


def too_large(num_bytes: int) -> str:
    """Say that a payload is refused for its size."""
    return f"the job's payload has {num_bytes:,} bytes or more; {MAX_PAYLOAD_BYTES:,} is the most"


def _unpacked(data: bytes) -> bytes:
    """Undo rq's compression, a bounded part of it: a small bomb must not fill the memory."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, MAX_PAYLOAD_BYTES)
    except zlib.error:
        return data  # rq reads what is not packed as it is
    if unpacker.unconsumed_tail:
        raise RejectError(Reason.MALFORMED, too_large(len(unpacked)))
    return unpacked
