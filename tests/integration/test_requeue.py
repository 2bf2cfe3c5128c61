"""Requeue: a failed job's record is generated again as another attempt, and ends exactly once."""

from pathlib import Path

import pytest
import redis

from contextvqa.errors import Reason
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.outcomes import Retried, rejected
from contextvqa.queueing.queues import GENERATE, REFINE, job_key, prompts_key, rq_queue, run_key
from contextvqa.queueing.reaper import process_identity
from contextvqa.queueing.requeue import requeue
from contextvqa.queueing.runs import Runs
from tests.integration.stand_in import BAD, GOOD, ONCE, generate, lines_of, work_off
from tests.support import run_contextvqa


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"image": "a.png"}\n')
    return path


@pytest.fixture
def places(redis_url: str, runs_dir: Path, source: Path) -> list[object]:
    """A run of one record on its way; the options that name its places."""
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    assert run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places).returncode == 0
    return places


@pytest.fixture
def key(connection: redis.Redis, places: list[object]) -> str:
    assert places
    (key,) = Runs(connection).pending_keys("r")
    return key


def test_a_requeued_record_is_pending_gets_another_attempt_and_a_result(
    connection: redis.Redis, places: list[object], key: str, runs_dir: Path, source: Path
) -> None:
    work_off(connection, lambda _: None, places)
    failed = job_id("r", key, Kind.GENERATE)

    assert requeue(connection, failed) is None

    queue = rq_queue(GENERATE, connection)
    assert queue.job_ids == [failed]
    assert queue.failed_job_registry.count == 0
    assert Runs(connection).pending_keys("r") == [key]
    (record,) = work_off(connection, lambda _: GOOD, places)
    assert record.attempt == 2
    assert [line["attempts"] for line in lines_of(runs_dir / "r", "rejects")["a.png"]] == [1]
    assert len(lines_of(runs_dir / "r", "results")["a.png"]) == 1
    assert Runs(connection).num_pending("r") == 0
    audit = run_contextvqa("audit", "r", "--input", source, *places)
    assert audit.returncode == 0, audit.stderr


def test_a_requeued_record_may_fail_again_with_a_line_of_its_own(
    connection: redis.Redis, places: list[object], key: str, runs_dir: Path
) -> None:
    work_off(connection, lambda _: None, places)
    assert requeue(connection, job_id("r", key, Kind.GENERATE)) is None

    work_off(connection, lambda _: BAD, places)

    lines = lines_of(runs_dir / "r", "rejects")["a.png"]
    assert [(line["attempts"], line["reason"]) for line in lines] == [
        (1, "image.not_found"),
        (2, "parse.no_pairs"),
    ]


def test_the_tries_of_a_failed_job_count_as_attempts_and_its_crashes_are_forgiven(
    connection: redis.Redis, places: list[object], key: str
) -> None:
    assert places
    failed = job_id("r", key, Kind.GENERATE)
    claims = Claims(connection, GENERATE, "w", process=process_identity(), result_ttl_s=300)
    for _ in range(2):
        claims.settle([(claim, Retried()) for claim in claims.claim(1, 0)])
    (claim,) = claims.claim(1, 0)
    claims.settle([(claim, rejected(claim, GENERATE, Reason.CRASHED, "crashed"))])
    connection.hset(job_key(failed), "crash_count", 4)
    run_contextvqa("refiner", "--burst", *places)

    assert requeue(connection, failed) is None

    assert connection.hget(job_key(failed), "crash_count") is None
    (record,) = generate(connection, lambda _: GOOD)
    assert record.attempt == 4


def test_a_generation_that_could_not_be_refined_is_written_anew(
    connection: redis.Redis, places: list[object], key: str
) -> None:
    generate(connection, lambda _: GOOD)
    claims = Claims(connection, REFINE, "w", process=process_identity(), result_ttl_s=300)
    (claim,) = claims.claim(1, 0)
    claims.settle([(claim, rejected(claim, REFINE, Reason.RETRIES_EXHAUSTED, "no luck"))])
    run_contextvqa("refiner", "--burst", *places)

    assert requeue(connection, job_id("r", key, Kind.REFINE)) is None

    assert rq_queue(REFINE, connection).failed_job_registry.count == 0
    assert [record.attempt for record in generate(connection, lambda _: GOOD)] == [2]


def test_a_job_is_not_requeued_before_its_rejection_is_written(
    connection: redis.Redis, places: list[object], key: str
) -> None:
    assert places
    generate(connection, lambda _: None)

    refusal = requeue(connection, job_id("r", key, Kind.GENERATE))

    assert refusal == "its record is on its way, or its rejection is not written yet"
    assert rq_queue(GENERATE, connection).count == 0
    assert rq_queue(GENERATE, connection).failed_job_registry.count == 1


def test_requeueing_twice_enqueues_once(
    connection: redis.Redis, places: list[object], key: str
) -> None:
    work_off(connection, lambda _: None, places)
    failed = job_id("r", key, Kind.GENERATE)

    assert requeue(connection, failed) is None
    assert requeue(connection, failed) is not None

    assert rq_queue(GENERATE, connection).job_ids == [failed]


@pytest.mark.parametrize(
    ("lost", "refusal"),
    [(run_key("r"), "no configuration of run 'r'"), (prompts_key("r"), "no prompt ")],
)
def test_a_record_whose_run_redis_has_lost_is_not_requeued_to_fail_again(
    connection: redis.Redis, places: list[object], key: str, lost: str, refusal: str
) -> None:
    work_off(connection, lambda _: None, places)
    connection.delete(lost)

    assert refusal in str(requeue(connection, job_id("r", key, Kind.GENERATE)))

    assert rq_queue(GENERATE, connection).count == 0
    assert Runs(connection).num_pending("r") == 0


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"status": "finished"}, "it is no failed job any more"),
        ({"data": "nonsense"}, "it holds no record"),
        ({"data": '["f", null, [], {}]'}, "it holds no record"),
    ],
)
def test_what_is_no_failed_job_of_a_record_is_left_alone(
    connection: redis.Redis, places: list[object], key: str, fields: dict[str, str], refusal: str
) -> None:
    work_off(connection, lambda _: None, places)
    failed = job_id("r", key, Kind.GENERATE)
    connection.hset(job_key(failed), mapping=dict(fields))

    assert refusal in str(requeue(connection, failed))

    assert rq_queue(GENERATE, connection).count == 0
    assert Runs(connection).num_pending("r") == 0


def test_a_job_that_carries_another_record_than_its_id_names_is_left_alone(
    connection: redis.Redis, places: list[object], key: str
) -> None:
    work_off(connection, lambda _: None, places)
    data = connection.hget(job_key(job_id("r", key, Kind.GENERATE)), "data")
    other = job_id("other", key, Kind.GENERATE)
    connection.hset(job_key(other), mapping={"data": data, "status": "failed"})

    assert "its id names another" in str(requeue(connection, other))
    assert requeue(connection, "someone-elses") == "it is no job of a record"
