"""
What Redis holds of a job, read with distrust: whoever can write there may have written it.
"""

import re
import zlib
from typing import Any

import redis
from rq.job import Job

from contextvqa.errors import Reason, RejectError
from contextvqa.queues import OrjsonSerializer

#: Most bytes of a job's payload, packed or not: twice the longest input row.
MAX_PAYLOAD_BYTES = 32 << 20

#: No counter of ours gets there.
MAX_COUNT = 1_000_000

#: A job's hash as Redis gives it.
JobHash = dict[bytes, bytes]
#: (job id, execution id).
ExecutionId = tuple[str, str]

#: Ids that rq takes, and with the execution the names in its registries.
JOB_ID = re.compile(r"[A-Za-z0-9_-]+")
EXECUTION = re.compile(r"(?P<job>[A-Za-z0-9_-]+):(?P<execution>[A-Za-z0-9_-]+)")


def text_of(value: object) -> str:
    """Return bytes of Redis as text, whatever they are."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def job_ids_in(members: Any) -> list[str]:
    """Return the job ids among the members of a list or registry, each once."""
    names = map(text_of, members)
    return [name for name in dict.fromkeys(names) if JOB_ID.fullmatch(name)]


def executions_in(members: Any) -> list[ExecutionId]:
    """Return the executions among the members of a registry."""
    found = (EXECUTION.fullmatch(text_of(name)) for name in members)
    return [(match["job"], match["execution"]) for match in found if match]


def job_of(job_id: str, connection: redis.Redis) -> Job:
    """Return a job of which nothing is known but its id."""
    return Job(job_id, connection=connection, serializer=OrjsonSerializer)


def restore(job: Job, hash_: JobHash) -> None:
    """
    Read a job's hash into it; its payload is decoded later, on first use.

    Raises:
        RejectError: The hash is no job's.

    """
    try:
        job.restore({**hash_, b"data": _unpacked(hash_[b"data"])})
    except RejectError:
        raise
    except Exception as error:
        # rq raises whatever the bytes provoke in it.
        raise RejectError(
            Reason.MALFORMED, f"the job's hash is not one of rq: {type(error).__name__}: {error}"
        ) from error


def count(hash_: JobHash, name: bytes) -> int:
    """Return a counter of ours in a job's hash, 0 where it never counted."""
    try:
        return min(max(int(hash_.get(name) or 0), 0), MAX_COUNT)
    except ValueError:
        return 0


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
