"""
The queues in Redis: serializer, and the map of every key.

| key                                | type | what                                                | lives |
| ---------------------------------- | ---- | --------------------------------------------------- | ----- |
| rq:queues, rq:queue:{queue}        | rq's | job ids that wait, head first                       | while not empty |
| rq:job:{job}                       | hash | the job; ours in it: `execution_id` (the fence), `crash_count`, `retry_count` | result TTL after its end |
| rq:wip:{queue}                     | zset | started: `{job}:{execution}`, score = end of lease  | until settled |
| rq:finished:{queue}, rq:failed:…   | zset | ended jobs, score = when Redis forgets them         | cleaned by every beat |
| rq:execution:{job}:{execution}     | hash | one execution, with its worker                      | lease |
| rq:executions:{job}                | zset | the executions of a job                             | lease |
| rq:worker:{worker}                 | hash | a live worker; ours in it: `max_in_flight`          | 15 s after the last beat |
| rq:worker:{worker}:executions      | set  | what the worker has in flight                       | as the worker |
| contextvqa:claimed:{queue}:{worker}| list | ids a worker took and has not started yet           | milliseconds |
| contextvqa:claimants:{queue}       | hash | workers that may hold jobs, dead ones until reaped -> process and host | until reaped |
| rq:deferred:{queue}                | zset | jobs put aside because their run is paused          | until it is resumed |
| contextvqa:paused                  | hash | paused run -> why                                   | until it is resumed |
| contextvqa:run:{run}               | hash | `config`, which all records share                   | for good |
| contextvqa:pending:{run}           | set  | keys of the records with a live job                 | until it ends |
| contextvqa:prompts:{run}           | hash | prompt digest -> prompt                             | for good |
"""

from typing import Any

import orjson
import redis
from rq import Queue
from rq.job import JobStatus

GENERATE = "generate"
REFINE = "refine"

#: Statuses of a job that will still run.
LIVE = frozenset(
    status.value.encode()
    for status in (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED)
)

#: Field of a worker's hash: what it has in flight at most, as of its last beat.
MAX_IN_FLIGHT = "max_in_flight"

#: Hash of the runs that are paused, with the reason of each.
PAUSED = "contextvqa:paused"


class OrjsonSerializer:
    """JSON that rq's own `JSONSerializer` reads. Never pickle: Redis must not carry code."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Encode a job's function name and arguments."""
        return orjson.dumps(value)

    @staticmethod
    def loads(data: bytes) -> Any:
        """Decode them."""
        return orjson.loads(data)


def job_key(job_id: str) -> str:
    """Hash of a job, rq's."""
    return f"rq:job:{job_id}"


def execution_key(job_id: str, execution_id: str) -> str:
    """Hash of an execution, rq's."""
    return f"rq:execution:{job_id}:{execution_id}"


def executions_key(job_id: str) -> str:
    """Sorted set of a job's executions, rq's."""
    return f"rq:executions:{job_id}"


def worker_executions_key(worker: str) -> str:
    """Set of what a worker has in flight, rq's."""
    return f"rq:worker:{worker}:executions"


def worker_key(worker: str) -> str:
    """Hash of a live worker, rq's."""
    return f"rq:worker:{worker}"


def claimed_key(queue: str, worker: str) -> str:
    """List of the ids that `worker` took off `queue` and has not started yet."""
    return f"contextvqa:claimed:{queue}:{worker}"


def claimants_key(queue: str) -> str:
    """Hash of the workers that may hold jobs of `queue`, with the process of each."""
    return f"contextvqa:claimants:{queue}"


def run_key(run: str) -> str:
    """Hash of what all records of `run` share."""
    return f"contextvqa:run:{run}"


def pending_key(run: str) -> str:
    """Set of the keys of the records of `run` that are on their way."""
    return f"contextvqa:pending:{run}"


def prompts_key(run: str) -> str:
    """Hash of the prompts of `run` by digest."""
    return f"contextvqa:prompts:{run}"


def rq_queue(name: str, connection: redis.Redis) -> Queue:
    """Return rq's queue object, with our serializer."""
    return Queue(name, connection=connection, serializer=OrjsonSerializer)
