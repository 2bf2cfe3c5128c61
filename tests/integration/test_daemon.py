"""The concurrent worker on a real server, with stages that do nothing but what a test needs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.worker import BaseWorker

from contextvqa.errors import Reason, RejectError, SinkError, TransientError
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.jobs import Kind, generate_job, job_id, refine_job
from contextvqa.queueing.outcomes import Finished
from contextvqa.queueing.queues import GENERATE, REFINE, OrjsonSerializer, rq_queue
from contextvqa.queueing.recovery import Recovery
from contextvqa.records import ImageRecord, from_payload
from contextvqa.settings import Daemon, Lifetime
from tests.stages import (
    BURST,
    EchoStage,
    assert_nothing_is_left,
    enqueue,
    pending,
    serve,
    until,
)
from tests.support import generation_of


def claims_of(connection: redis.Redis, worker: str) -> Claims:
    return Claims(connection, GENERATE, worker, process="1@elsewhere", result_ttl_s=60)


def test_every_record_is_generated_once_and_handed_to_the_refine_queue(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1000)
    stage = EchoStage()

    serve(connection, stage)

    assert sorted(stage.executed) == list(range(1, 1001))
    refine = rq_queue(REFINE, connection)
    assert refine.count == 1000
    assert rq_queue(GENERATE, connection).count == 0
    assert rq_queue(GENERATE, connection).finished_job_registry.count == 1000
    assert pending(connection) == 1000
    job = refine.fetch_job(refine.job_ids[0])
    assert job.kwargs["generation"]["text"] == f"text {job.args[1]}"
    assert_nothing_is_left(connection)


def test_many_executions_are_in_flight_and_never_more_than_allowed(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 200)

    async def linger(_: ImageRecord) -> None:
        await asyncio.sleep(0.01)

    stage = EchoStage(linger, max_in_flight=32)

    serve(connection, stage)

    assert stage.most_running == 32


def test_rq_info_and_the_registries_tell_the_truth_while_records_are_in_flight(
    connection: redis.Redis, redis_url: str, runs_dir: Path
) -> None:
    # Given ten records, of which four are in flight: two end at once, the others wait
    enqueue(connection, runs_dir, 10)
    go_on = asyncio.Event()

    async def wait(record: ImageRecord) -> None:
        if record.id not in (1, 2):
            await go_on.wait()

    seen: dict[str, object] = {}

    async def look_while_they_wait(worker: ConcurrentWorker) -> None:
        await until(lambda: worker.num_settled == 2 and len(worker.in_flight) == 4)
        seen.update(await asyncio.to_thread(counts_as_rq_has_them, connection, redis_url))
        go_on.set()

    async def scenario() -> None:
        worker = ConcurrentWorker(EchoStage(wait, 4), connection, Daemon(), BURST)
        await asyncio.gather(worker.serve(), look_while_they_wait(worker))

    # When stock rq is asked
    asyncio.run(scenario())

    # Then it counts them as they are
    assert seen["info"] == {
        "generate": ["4", "4", "executing", "2", "finished", "0", "failed"],
        "refine": ["2", "0", "executing", "0", "finished", "0", "failed"],
    }
    assert seen["started"] == 4
    assert seen["finished"] == 2
    assert seen["workers"] == [("busy", 4, 2)]
    assert seen["info_workers"] == 1


def counts_as_rq_has_them(connection: redis.Redis, url: str) -> dict[str, object]:
    rq = str(Path(sys.executable).with_name("rq"))
    command = [rq, "info", "-u", url, "-S", "json", "--raw"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.replace(",", "").split() for line in output.splitlines()]
    queue = rq_queue(GENERATE, connection)
    workers = BaseWorker.all(connection=connection, serializer=OrjsonSerializer)
    return {
        "info": {line[1]: line[2:] for line in lines if line[0] == "queue"},
        "info_workers": sum(line[0] == "worker" for line in lines),
        "started": queue.started_job_registry.count,
        "finished": queue.finished_job_registry.count,
        "workers": [
            (worker.get_state(), worker.current_execution_count, worker.successful_job_count)
            for worker in workers
        ],
    }


def test_a_rejected_record_fails_in_rq_and_its_rejection_goes_to_the_refiner(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)

    async def refuse(record: ImageRecord) -> None:
        if record.id == 2:
            raise RejectError(Reason.IMAGE_NOT_FOUND, "2.png is not there")

    serve(connection, EchoStage(refuse))

    failed = rq_queue(GENERATE, connection).failed_job_registry
    (failed_id,) = failed.get_job_ids()
    job = Job.fetch(failed_id, connection=connection, serializer=OrjsonSerializer)
    assert job.get_status() == JobStatus.FAILED
    assert job.latest_result().exc_string == "image.not_found: 2.png is not there"
    refine = rq_queue(REFINE, connection)
    (reject,) = [identifier for identifier in refine.job_ids if identifier.endswith("-reject")]
    rejection = refine.fetch_job(reject).kwargs["rejection"]
    assert (rejection["reason"], rejection["record"]["id"]) == ("image.not_found", 2)
    assert pending(connection) == 3


def test_a_transient_failure_is_tried_again_and_at_last_rejected(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 2)
    tries: list[int | str] = []

    async def fail(record: ImageRecord) -> None:
        tries.append(record.id)
        if record.id == 1 or len(tries) < 4:
            raise TransientError("the engine is busy")

    serve(connection, EchoStage(fail), Daemon(max_retries=3, retry_wait_s=0.01))

    assert tries.count(1) == 4
    jobs = rq_queue(REFINE, connection).jobs
    (rejection,) = [job.kwargs["rejection"] for job in jobs if "rejection" in job.kwargs]
    assert rejection["record"]["attempt"] == 4
    assert sorted(i.rsplit("-", 1)[1] for i in rq_queue(REFINE, connection).job_ids) == [
        "refine",
        "reject",
    ]


def test_an_unexpected_error_of_one_record_costs_no_other(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 50)

    async def break_one(record: ImageRecord) -> None:
        if record.id == 25:
            raise ZeroDivisionError

    stage = EchoStage(break_one)
    serve(connection, stage, Daemon(retry_wait_s=0.01))

    assert sorted(stage.executed) == [number for number in range(1, 51) if number != 25]


def test_a_fatal_error_stops_the_daemon_and_returns_all_it_had_to_the_queue(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 20)

    async def disk_full(record: ImageRecord) -> None:
        if record.id == 5:
            raise SinkError("the disk is full")

    with pytest.raises(SinkError, match="the disk is full"):
        serve(connection, EchoStage(disk_full, max_in_flight=1))

    assert rq_queue(GENERATE, connection).count == 16
    assert pending(connection) == 20
    assert_nothing_is_left(connection)


def test_sigterm_lets_what_is_in_flight_end_and_leaves_the_rest_queued(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 20)

    async def stop_at_three(record: ImageRecord) -> None:
        if record.id == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)

    stage = EchoStage(stop_at_three, max_in_flight=5)
    serve(connection, stage, lifetime=Lifetime())

    assert sorted(stage.executed) == [1, 2, 3, 4, 5]
    assert rq_queue(GENERATE, connection).count == 15
    assert_nothing_is_left(connection)


def test_what_does_not_end_within_the_drain_timeout_goes_back_to_the_head_uncounted(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 10)

    async def hang(record: ImageRecord) -> None:
        if record.id == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    serve(connection, EchoStage(hang, 4), Daemon(drain_timeout_s=0.1), Lifetime())

    queue = rq_queue(GENERATE, connection)
    assert sorted(job.args[1] for job in queue.jobs) == list(range(1, 11))
    assert {job.args[1] for job in queue.jobs[:4]} == {1, 2, 3, 4}
    assert [connection.hget(job.key, "crash_count") for job in queue.jobs] == [None] * 10
    assert_nothing_is_left(connection)


def test_jobs_in_flight_at_a_kill_are_done_by_the_next_worker(
    connection: redis.Redis, redis_url: str, runs_dir: Path
) -> None:
    # Given a worker that is killed with records in flight
    enqueue(connection, runs_dir, 30)
    script = Path(__file__).with_name("hanging_worker.py")
    command = [sys.executable, str(script), redis_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"8 in flight\n"
        hanging.kill()

    # When another one starts on this host
    stage = EchoStage()
    serve(connection, stage)

    # Then it has taken them back at once, and each record was handed on once
    assert sorted(stage.executed) == list(range(1, 31))
    assert rq_queue(REFINE, connection).count == 30
    assert_nothing_is_left(connection)


def test_a_job_that_names_another_function_is_failed_and_nothing_is_imported(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1)
    rq_queue(GENERATE, connection).enqueue("os.system", "true", job_id="evil")

    stage = EchoStage()
    serve(connection, stage)

    evil = Job.fetch("evil", connection=connection, serializer=OrjsonSerializer)
    assert evil.get_status() == JobStatus.FAILED
    assert "os.system" in evil.latest_result().exc_string
    assert stage.executed == [1]


def test_a_pickled_job_and_one_that_is_no_job_are_failed_and_the_others_go_on(
    connection: redis.Redis, runs_dir: Path
) -> None:
    queue = rq_queue(GENERATE, connection)
    Queue(GENERATE, connection=connection).enqueue("os.system", "true", job_id="pickled")
    connection.hset("rq:job:broken", mapping={"status": "queued", "timeout": "no number"})
    connection.rpush(queue.key, "broken", "deleted")
    enqueue(connection, runs_dir, 1)

    stage = EchoStage()
    serve(connection, stage)

    assert stage.executed == [1]
    assert queue.fetch_job("pickled").latest_result().exc_string.startswith("job.malformed: ")
    assert sorted(queue.failed_job_registry.get_job_ids()) == ["broken", "pickled"]
    assert connection.keys("contextvqa:pending:*") == [b"contextvqa:pending:test"]
    assert queue.count == 0
    assert_nothing_is_left(connection)


def test_a_job_that_somebody_deleted_does_not_keep_its_run_from_ending(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)
    connection.delete(rq_queue(GENERATE, connection).jobs[1].key)

    serve(connection, EchoStage())

    assert pending(connection) == 2
    assert enqueue(connection, runs_dir, 3).counts.enqueued == 1
    assert pending(connection) == 3


def test_a_late_result_of_an_execution_that_lost_its_job_is_dropped(
    connection: redis.Redis, runs_dir: Path
) -> None:
    # Given a claim that was taken back while its worker slept
    enqueue(connection, runs_dir, 1)
    sleeper, other = (claims_of(connection, name) for name in ("sleeper", "other"))
    (late,) = sleeper.claim(1, 0)
    assert Recovery(other, 3).take_back_crashed([late.execution]) == 1
    (claim,) = other.claim(1, 0)

    # When both settle
    record = from_payload(claim.job.content[1]["record"], ImageRecord)
    follow_ups = (refine_job(generation_of(record, "text")),)
    assert sleeper.settle([(late, Finished(follow_ups=follow_ups))]) == [late]
    assert other.settle([(claim, Finished(follow_ups=follow_ups))]) == []

    # Then one result is there
    assert rq_queue(REFINE, connection).count == 1
    assert pending(connection) == 1


def test_suspects_run_a_few_at_a_time_and_alone_after_a_second_crash(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 10)
    claims = claims_of(connection, "crasher")
    recovery = Recovery(claims, max_crashes=3)
    groups = []
    for _ in range(4):
        claimed = claims.claim(10, 0)
        groups.append(len(claimed))
        recovery.take_back_crashed([claim.execution for claim in claimed])

    assert groups == [10, 4, 1, 1]
    assert rq_queue(REFINE, connection).count == 1  # the rejection of the one that crashed alone
    assert rq_queue(GENERATE, connection).count == 9
    assert pending(connection) == 10


def test_a_suspect_waits_until_nothing_else_is_in_flight(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 5)
    claims = claims_of(connection, "worker")
    (suspect,) = claims.claim(1, 0)
    Recovery(claims, 3).take_back_crashed([suspect.execution])

    while_busy = claims.claim(5, 1)
    while_quiet = claims.claim(5, 0)

    assert while_busy == []
    assert [claim.job.id for claim in while_quiet] == [suspect.job.id]
    assert rq_queue(GENERATE, connection).count == 4


def test_enqueueing_the_same_input_again_changes_nothing_at_any_stage(
    connection: redis.Redis, runs_dir: Path
) -> None:
    assert enqueue(connection, runs_dir, 20).counts.enqueued == 20
    assert enqueue(connection, runs_dir, 20).counts.live == 20

    serve(connection, EchoStage())

    assert enqueue(connection, runs_dir, 20).counts.live == 20
    assert rq_queue(GENERATE, connection).count == 0
    assert pending(connection) == 20


def test_job_ids_say_run_record_and_stage_and_descriptions_are_readable(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1)

    (job,) = rq_queue(GENERATE, connection).jobs
    record = from_payload(job.kwargs["record"], ImageRecord)
    assert job.id == job_id("test", record.key, Kind.GENERATE) == generate_job(record).id
    assert job.description == "generate test 1 1.png"
    assert list(job.args) == ["test", 1]
    assert json.loads(json.dumps(job.kwargs))["record"]["image"] == ["1.png"]
