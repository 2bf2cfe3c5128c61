"""rq finds in Redis what it would have written itself, though we write it in fewer commands."""

import redis
from rq import Queue
from rq.executions import Execution as RqExecution
from rq.job import Job

from contextvqa.queueing import bookkeeping
from contextvqa.queueing.job_hash import Execution
from contextvqa.queueing.jobs import FUNCTIONS, NO_TIMEOUT, JobSpec, generate_job
from contextvqa.queueing.queues import GENERATE, OrjsonSerializer, rq_queue
from contextvqa.records import ImageRecord

SPECS = [
    generate_job(
        ImageRecord(
            run="r",
            key=f"{number:032x}",
            id=number,
            image=("a.png",),
            prompt_digest="0123456789abcdef",
        )
    )
    for number in range(3)
]
WORKER = "generate-host-1"
TTL_S = 300

#: What is in a key, with all that depends on the clock left out.
Content = dict[str, object]


def content_of(connection: redis.Redis) -> Content:
    """Return all that Redis holds, without the values of clocks and chance."""
    found: Content = {}
    for raw in sorted(connection.scan_iter()):
        key = raw.decode()
        kind = connection.type(raw)
        has_ttl = connection.ttl(raw) > 0
        found[key] = (kind, has_ttl, members_of(connection, raw, kind))
    return found


def members_of(connection: redis.Redis, key: bytes, kind: bytes) -> object:
    if kind == b"hash":
        fields = connection.hgetall(key)
        clocks = [name for name in fields if name.endswith((b"_at", b"heartbeat"))]
        return {**fields, **{name: b"" if not fields[name] else b"time" for name in clocks}}
    if kind == b"zset":
        return connection.zrange(key, 0, -1)
    return sorted(connection.smembers(key)) if kind == b"set" else connection.lrange(key, 0, -1)


def by_rq(queue: Queue, spec: JobSpec) -> Job:
    """Enqueue as rq does."""
    data = Queue.prepare_data(
        FUNCTIONS[GENERATE],
        args=(spec.record.run, spec.record.id),
        kwargs=spec.arguments,
        timeout=NO_TIMEOUT,
        description=spec.description,
        job_id=spec.id,
    )
    (job,) = queue.enqueue_many([data])
    return job


def test_enqueueing_writes_what_rq_writes(connection: redis.Redis) -> None:
    queue = rq_queue(GENERATE, connection)
    for spec in SPECS:
        by_rq(queue, spec)
    expected = content_of(connection)
    connection.flushall()

    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, queue, SPECS)
        pipeline.execute()

    assert content_of(connection) == expected
    jobs = queue.get_jobs()
    assert [(job.func_name, job.args) for job in jobs] == [
        ("worker.generate", ["r", number]) for number in range(3)
    ]


def test_starting_and_dropping_write_what_rq_writes(connection: redis.Redis) -> None:
    # Given jobs that rq itself starts
    queue = rq_queue(GENERATE, connection)
    jobs = [by_rq(queue, spec) for spec in SPECS]
    connection.delete(queue.key)
    ids = []
    with connection.pipeline() as pipeline:
        for job in jobs:
            execution = RqExecution.create(job, TTL_S, pipeline, worker_name=WORKER)
            job.prepare_for_execution(WORKER, pipeline)
            pipeline.hset(job.key, "execution_id", execution.id)
            ids.append(execution.id)
        pipeline.execute()
    expected = content_of(connection)

    # When we start jobs like them
    connection.flushall()
    executions = [Execution(job.id, id_, WORKER) for job, id_ in zip(jobs, ids, strict=True)]
    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, queue, SPECS)
        pipeline.delete(queue.key)
        bookkeeping.start(pipeline, queue, executions)
        pipeline.execute()

    # Then rq finds the same, and after a drop nothing but the jobs
    assert content_of(connection) == expected
    with connection.pipeline() as pipeline:
        bookkeeping.drop(pipeline, queue, executions)
        pipeline.execute()
    left = {key for key in content_of(connection) if not key.startswith("rq:job:")}
    assert left == {"rq:queues"}


def test_a_finished_job_is_in_its_registry_and_expires(connection: redis.Redis) -> None:
    queue = rq_queue(GENERATE, connection)
    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, queue, SPECS[:1])
        bookkeeping.finish(pipeline, queue, [SPECS[0].id], TTL_S)
        pipeline.execute()

    job = Job.fetch(SPECS[0].id, connection=connection, serializer=OrjsonSerializer)

    assert job.is_finished
    assert job.ended_at is not None
    assert queue.finished_job_registry.get_job_ids() == [job.id]
    assert 0 < connection.ttl(job.key) <= TTL_S
