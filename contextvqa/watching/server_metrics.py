"""What a server tells of its queues, workers, runs on their way and memory: one look, as metrics."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from rq import Queue
from rq.worker import WorkerStatus
from rq.worker_registration import REDIS_WORKER_KEYS

from contextvqa.queueing.job_hash import text_of
from contextvqa.queueing.queues import GENERATE, PAUSED, REFINE, pending_key, rq_queue
from contextvqa.queueing.transactions import RedisCommand, ask

#: Where a job may be, as `status` calls it.
STATES = ("queued", "started", "deferred", "finished", "failed")
#: What a worker says of itself: something is in flight, or nothing.
WORKER_STATES = (WorkerStatus.BUSY.value, WorkerStatus.IDLE.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerLook:
    """A server at one moment. All commands only read."""

    #: Jobs by queue and state, as rq's registries have them.
    jobs: dict[tuple[str, str], int]
    #: Live workers by queue and state.
    workers: dict[tuple[str, str], int]
    #: Records on their way, by run.
    pending: dict[str, int]
    paused: frozenset[str]
    #: Bytes that the server has in use, and may use; None where it does not tell, 0 for no limit.
    memory_bytes: int | None
    memory_limit_bytes: int | None


def look_at(connection: redis.Redis, runs: Sequence[str]) -> ServerLook:
    """
    Ask a server, in three round trips whatever it holds.

    Raises:
        redis.RedisError: It does not answer.

    """
    queues = [rq_queue(name, connection) for name in (GENERATE, REFINE)]
    of_queues = [command for queue in queues for command in _counting(queue)]
    of_runs: list[RedisCommand] = [("SCARD", pending_key(run)) for run in runs]
    others: list[RedisCommand] = [("HKEYS", PAUSED), ("SMEMBERS", REDIS_WORKER_KEYS)]
    replies = ask(connection, [*of_queues, *of_runs, *others])
    names = [(queue.name, state) for queue in queues for state in STATES]
    *numbers, paused, worker_keys = replies
    memory = _memory(connection)
    return ServerLook(
        jobs=dict(zip(names, numbers[: len(names)], strict=True)),
        workers=_workers(connection, worker_keys),
        pending=dict(zip(runs, numbers[len(names) :], strict=True)),
        paused=frozenset(map(text_of, paused)),
        memory_bytes=memory.get("used_memory"),
        memory_limit_bytes=memory.get("maxmemory"),
    )


def families(look: ServerLook | None) -> Iterator[Metric]:
    """Yield what a look shows; of a server that does not answer, that."""
    up = GaugeMetricFamily("contextvqa_redis_up", "Whether the server answers.", look is not None)
    yield up
    if look is None:
        return
    jobs = GaugeMetricFamily(
        "contextvqa_jobs", "Jobs, as rq's registries have them.", labels=("queue", "state")
    )
    workers = GaugeMetricFamily(
        "contextvqa_workers", "Workers with a fresh heartbeat.", labels=("queue", "state")
    )
    for family, counts in ((jobs, look.jobs), (workers, look.workers)):
        for labels, number in counts.items():
            family.add_metric(labels, number)
        yield family
    pending = GaugeMetricFamily(
        "contextvqa_pending", "Records of a run that are on their way.", labels=("run",)
    )
    paused = GaugeMetricFamily("contextvqa_paused", "Whether a run is paused.", labels=("run",))
    for run, number in look.pending.items():
        pending.add_metric((run,), number)
        paused.add_metric((run,), run in look.paused)
    yield from (pending, paused)
    for name, text, value in (
        ("memory", "What the server has in use.", look.memory_bytes),
        ("memory_limit", "Its maxmemory; 0 for no limit.", look.memory_limit_bytes),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"contextvqa_redis_{name}_bytes", text, value)


def _counting(queue: Queue) -> list[RedisCommand]:
    """Count the jobs of a queue in the order of STATES, without rq's own clean-up."""
    registries = (
        *(queue.started_job_registry, queue.deferred_job_registry),
        *(queue.finished_job_registry, queue.failed_job_registry),
    )
    return [("LLEN", queue.key), *(("ZCARD", registry.key) for registry in registries)]


def _workers(connection: redis.Redis, keys: Sequence[bytes]) -> dict[tuple[str, str], int]:
    counts = Counter({(queue, state): 0 for queue in (GENERATE, REFINE) for state in WORKER_STATES})
    for row in ask(connection, [("HMGET", key, "queues", "state", "death") for key in keys]):
        queue, state, death = row
        if queue is not None and state is not None and death is None:
            counts[text_of(queue), text_of(state)] += 1
    return dict(counts)


def _memory(connection: redis.Redis) -> dict[str, Any]:
    with contextlib.suppress(redis.exceptions.NoPermissionError):
        return dict(connection.info("memory"))
    return {}
