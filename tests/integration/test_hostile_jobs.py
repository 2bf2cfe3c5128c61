"""Whatever stands in the queue, the daemon goes on and no innocent record pays."""

import zlib
from pathlib import Path

import pytest
import redis
from rq.job import Job

from contextvqa.queueing.job_hash import MAX_PAYLOAD_BYTES
from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.queues import GENERATE, REFINE, OrjsonSerializer, rq_queue
from tests.stages import EchoStage, enqueue, pending, serve

EVIL = job_id("test", "e" * 32, Kind.GENERATE)


def put(connection: redis.Redis, identifier: str, fields: dict[str, bytes]) -> None:
    """Put a job at the head of the queue, as somebody with access to Redis could."""
    if fields:
        connection.hset(Job.key_for(identifier), mapping=fields)
    connection.lpush(rq_queue(GENERATE, connection).key, identifier)


def payload(run: str, key: str) -> bytes:
    record = {
        "run": run,
        "key": key,
        "id": 1,
        "image": ["a.png"],
        "prompt_digest": "0123456789abcdef",
        "prompt": None,
        "attempt": 1,
    }
    return zlib.compress(OrjsonSerializer.dumps(["worker.generate", None, [], {"record": record}]))


HOSTILE = {
    "no fields but a status": {"status": b"queued"},
    "bytes that are no text": {"status": b"queued", "data": b"\xff\xfe\x00"},
    "counters that are no numbers": {"status": b"queued", "data": b"[]", "crash_count": b"many"},
    "dates that are no dates": {"status": b"queued", "data": b"[]", "created_at": b"yesterday"},
    "JSON of another shape": {"status": b"queued", "data": b'{"a": 1}'},
    "arguments that are no object": {"status": b"queued", "data": b'["worker.generate",null,[],7]'},
    "a payload that unpacks to gigabytes": {
        "status": b"queued",
        "data": zlib.compress(bytes(4 * MAX_PAYLOAD_BYTES)),
    },
    "a payload of 100 MB": {"status": b"queued", "data": bytes(100_000_000)},
    "another record than its id": {"status": b"queued", "data": payload("test", "f" * 32)},
    "a run that is a path": {"status": b"queued", "data": payload("../../etc", "e" * 32)},
}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_job_is_failed_and_costs_no_other(
    connection: redis.Redis, runs_dir: Path, fields: dict[str, bytes]
) -> None:
    enqueue(connection, runs_dir, 3)
    put(connection, EVIL, fields)

    stage = EchoStage()
    serve(connection, stage)

    assert sorted(stage.executed) == [1, 2, 3]
    assert connection.hget(Job.key_for(EVIL), "status") == b"failed"
    assert rq_queue(GENERATE, connection).failed_job_registry.get_job_ids() == [EVIL]
    assert rq_queue(REFINE, connection).count == 3
    assert pending(connection) == 3


def test_an_id_whose_key_is_no_hash_is_dropped(connection: redis.Redis, runs_dir: Path) -> None:
    enqueue(connection, runs_dir, 3)
    connection.set(Job.key_for(EVIL), "a string")
    put(connection, EVIL, {})

    stage = EchoStage()
    serve(connection, stage)

    assert sorted(stage.executed) == [1, 2, 3]
    assert rq_queue(GENERATE, connection).count == 0


def test_a_job_of_an_older_version_is_rejected_with_a_reason_where_it_names_its_record(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1)
    (job,) = rq_queue(GENERATE, connection).jobs
    arguments = dict(job.kwargs)
    arguments["record"] = {**arguments["record"], "image": "a.png"}  # once a bare string
    data = OrjsonSerializer.dumps(["worker.generate", None, [], arguments])
    connection.hset(job.key, "data", zlib.compress(data))

    serve(connection, EchoStage())

    failed = Job.fetch(job.id, connection=connection, serializer=OrjsonSerializer)
    assert "not a ImageRecord of this version" in failed.latest_result().exc_string
    assert pending(connection) == 0
    assert enqueue(connection, runs_dir, 1).counts.enqueued == 1
