"""
rq's books, kept for many jobs at once: enqueued, started, ended.

The keys, fields and registries are those that rq's own `Queue.enqueue_many`, `Execution.create`,
`Job.prepare_for_execution`, `Execution.delete` and `Job.cleanup` write, in half of the commands and
a fifth of the time, so that `rq info` and rq-dashboard cannot tell. A test compares them with rq's.
Everything here only buffers commands.
"""

import time
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.client import Pipeline
from rq import Queue
from rq.job import JobStatus
from rq.utils import now, utcformat

from contextvqa.queueing.job_hash import Execution
from contextvqa.queueing.jobs import (
    FUNCTIONS,
    NO_TIMEOUT,
    QUEUES,
    JobSpec,
    generate_job,
    job_id,
    run_and_key,
)
from contextvqa.queueing.queues import (
    GENERATE,
    OrjsonSerializer,
    executions_key,
    job_key,
    pending_key,
    rq_queue,
    worker_executions_key,
)
from contextvqa.records import ImageRecord

#: Life of an execution in rq's started registry, in seconds. Long, so that stock rq's cleanup,
#: which is neither atomic nor fenced, never judges a job of ours, not even on a host whose clock
#: is hours ahead; we find the dead ourselves.
LEASE_S = 24 * 3600
#: Fields of a hash, as redis-py's types want them.
Fields = dict[Any, Any]
#: What rq lets the lists of executions outlive the executions by, in seconds.
MARGIN_S = 60
#: Fields that rq writes empty into a new job.
EMPTY = dict.fromkeys(
    (
        *("success_callback_name", "failure_callback_name", "stopped_callback_name"),
        *("started_at", "ended_at", "last_heartbeat", "worker_name", "group_id"),
    ),
    "",
)


def enqueue(pipeline: Pipeline, queue: Queue, specs: Sequence[JobSpec]) -> None:
    """Buffer the enqueueing of jobs of one queue, in their order, at its end."""
    if not specs:
        return
    created_at = utcformat(now())
    pipeline.sadd(queue.redis_queues_keys, queue.key)
    for spec in specs:
        pipeline.hset(job_key(spec.id), mapping=_new_job(spec, queue.name, created_at))
    pipeline.rpush(queue.key, *(spec.id for spec in specs))


def enter(pipeline: Pipeline, connection: redis.Redis, records: Sequence[ImageRecord]) -> None:
    """
    Buffer that records of one run, none on its way, are to be generated and are pending from now on.

    What is left of their ended jobs, of any kind, makes room.
    """
    for kind, name in QUEUES.items():
        ended = [job_id(record.run, record.key, kind) for record in records]
        make_room(pipeline, rq_queue(name, connection), ended)
    enqueue(pipeline, rq_queue(GENERATE, connection), [generate_job(record) for record in records])
    pipeline.sadd(pending_key(records[0].run), *(record.key for record in records))


def make_room(pipeline: Pipeline, queue: Queue, job_ids: Sequence[str]) -> None:
    """Buffer that jobs of a queue which ended, if they were ever there, are no more."""
    pipeline.delete(*map(job_key, job_ids))
    pipeline.zrem(queue.finished_job_registry.key, *job_ids)
    pipeline.zrem(queue.failed_job_registry.key, *job_ids)


def start(pipeline: Pipeline, queue: Queue, executions: Sequence[Execution]) -> None:
    """Buffer that executions begin, each the one that its job's fence names from now on."""
    if not executions:
        return
    started_at = utcformat(now())
    now_s = time.time()
    worker = executions[0].worker
    for execution in executions:
        fields: Fields = {
            "last_heartbeat": started_at,
            "status": JobStatus.STARTED.value,
            "started_at": started_at,
            "worker_name": worker,
            "execution_id": execution.id,
        }
        pipeline.hset(job_key(execution.job_id), mapping=fields)
        details: Fields = {
            "id": execution.id,
            "job_id": execution.job_id,
            "created_at": now_s,
            "last_heartbeat": now_s,
            "worker_name": worker,
        }
        pipeline.hset(execution.key, mapping=details)
        pipeline.expire(execution.key, LEASE_S)
        of_job = executions_key(execution.job_id)
        pipeline.zadd(of_job, {execution.id: now_s + LEASE_S + MARGIN_S})
        pipeline.expire(of_job, LEASE_S + MARGIN_S)
    members = [execution.composite_key for execution in executions]
    pipeline.zadd(queue.started_job_registry.key, dict.fromkeys(members, now_s + LEASE_S))
    of_worker = worker_executions_key(worker)
    pipeline.sadd(of_worker, *members)
    # Outlives the worker's key: it says what a transaction whose reply was lost has started.
    pipeline.expire(of_worker, LEASE_S + MARGIN_S)


def renew(pipeline: Pipeline, queue: Queue, executions: Iterable[Execution]) -> None:
    """Buffer that executions go on."""
    now_s = time.time()
    for execution in executions:
        pipeline.hset(execution.key, "last_heartbeat", str(now_s))
        pipeline.expire(execution.key, LEASE_S)
        of_job = executions_key(execution.job_id)
        pipeline.zadd(of_job, {execution.id: now_s + LEASE_S + MARGIN_S}, xx=True)
        pipeline.expire(of_job, LEASE_S + MARGIN_S)
        started = queue.started_job_registry.key
        pipeline.zadd(started, {execution.composite_key: now_s + LEASE_S}, xx=True)


def drop(pipeline: Pipeline, queue: Queue, executions: Sequence[Execution]) -> None:
    """Buffer that executions are no more; says nothing of their jobs."""
    if not executions:
        return
    pipeline.delete(*(execution.key for execution in executions))
    for execution in executions:
        pipeline.zrem(executions_key(execution.job_id), execution.id)
    members: dict[str, list[str]] = {}
    for execution in executions:
        members.setdefault(execution.worker, []).append(execution.composite_key)
    pipeline.zrem(
        queue.started_job_registry.key, *(name for group in members.values() for name in group)
    )
    for worker, names in members.items():
        pipeline.srem(worker_executions_key(worker), *names)


def finish(pipeline: Pipeline, queue: Queue, job_ids: Sequence[str], ttl_s: int) -> None:
    """Buffer that jobs succeeded, without rq's result stream: nobody reads it, and it is large."""
    if not job_ids:
        return
    fields: Fields = {"status": JobStatus.FINISHED.value, "ended_at": utcformat(now())}
    for name in map(job_key, job_ids):
        pipeline.hset(name, mapping=fields)
        pipeline.expire(name, ttl_s)
    expires_at = time.time() + ttl_s
    pipeline.zadd(queue.finished_job_registry.key, dict.fromkeys(job_ids, expires_at))


def forget_pending(pipeline: Pipeline, job_ids: Iterable[str]) -> None:
    """Buffer that the records of these jobs are no longer on their way."""
    keys: dict[str, list[str]] = {}
    for named in map(run_and_key, job_ids):
        if named:
            keys.setdefault(named[0], []).append(named[1])
    for run, group in keys.items():
        pipeline.srem(pending_key(run), *group)


def _new_job(spec: JobSpec, queue: str, created_at: str) -> Fields:
    # rq-dashboard's workers page shows positional arguments: short and readable.
    arguments = (spec.record.run, spec.record.id)
    call = (FUNCTIONS[spec.queue], None, arguments, spec.arguments)
    return {
        "created_at": created_at,
        "data": zlib.compress(OrjsonSerializer.dumps(call)),
        **EMPTY,
        "origin": queue,
        "description": spec.description,
        "enqueued_at": created_at,
        "timeout": NO_TIMEOUT,
        "status": JobStatus.QUEUED.value,
    }
