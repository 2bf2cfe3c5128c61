"""
What a job's hash in Redis holds, read with distrust: whoever can write there may have written it.
"""

import zlib

import redis
from rq.job import Job

from contextvqa.errors import Reason, RejectError
from contextvqa.queues import OrjsonSerializer

#: Most bytes of a job's payload, packed or not: twice the longest input row.
MAX_PAYLOAD_BYTES = 32 << 20

#: A job's hash as Redis gives it.
JobHash = dict[bytes, bytes]


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
        return int(hash_.get(name) or 0)
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
