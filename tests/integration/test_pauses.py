"""A run that fails as a whole is paused, and nothing of it is lost; other runs go on."""

import asyncio
from pathlib import Path

import orjson
import pytest
import redis

from contextvqa.errors import Reason, RejectError, RunError, TransientError
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.pauses import Pause, pause, pause_of, resume
from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from contextvqa.queueing.recovery import Recovery
from contextvqa.queueing.runs import Runs
from contextvqa.records import ImageRecord
from contextvqa.settings import Daemon
from contextvqa.storage.run_directory import RunDirectory
from producer.enqueue import Enqueuer
from tests.stages import EchoStage, assert_nothing_is_left, enqueue, pending, rows, serve
from tests.support import run_contextvqa

WHY = Pause.now("operator", "asked for", "a test")


def aside(connection: redis.Redis) -> int:
    return rq_queue(GENERATE, connection).deferred_job_registry.get_job_count(cleanup=False)


async def lost_mount(_: ImageRecord) -> None:
    raise RejectError(Reason.IMAGE_NOT_FOUND, "is not at '/mnt/images/1.png'.")


async def sick_file_system(_: ImageRecord) -> None:
    raise TransientError("cannot be opened now: Input/output error.")


def test_a_lost_mount_pauses_the_run_and_rejects_no_more_than_half_a_window(
    connection: redis.Redis, runs_dir: Path
) -> None:
    # Given a thousand records whose images are all gone
    enqueue(connection, runs_dir, 1000)

    # When a worker meets them
    serve(connection, EchoStage(lost_mount), Daemon(breaker_window=40, breaker_share=0.5))

    # Then the run is paused with the reason, and all but a few records wait unharmed
    why = pause_of(connection, "test")
    assert why is not None
    assert (why.reason, "/mnt/images" in why.message) == ("image.not_found", True)
    assert rq_queue(REFINE, connection).count == 20
    assert rq_queue(GENERATE, connection).count == 0
    assert aside(connection) == 980
    assert pending(connection) == 1000

    # And after it is resumed, all of them are done
    resume(connection, "test")
    stage = EchoStage()
    serve(connection, stage)
    assert sorted(stage.executed) == list(range(21, 1001))
    assert rq_queue(REFINE, connection).count == 1000
    assert_nothing_is_left(connection)


def test_a_file_system_that_fails_for_the_moment_pauses_the_run_without_any_reject(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 200)
    daemon = Daemon(max_retries=0, retry_wait_s=0)

    serve(
        connection,
        EchoStage(sick_file_system),
        Daemon(max_retries=3, retry_wait_s=0, breaker_window=100, breaker_share=0.5),
    )

    why = pause_of(connection, "test")
    assert why is not None
    assert why.reason == "transient"
    assert rq_queue(REFINE, connection).count == 0
    assert pending(connection) == 200
    resume(connection, "test")
    stage = EchoStage()
    serve(connection, stage, daemon)
    assert sorted(stage.executed) == list(range(1, 201))


def test_a_few_bad_images_among_good_ones_pause_nothing(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 300)

    async def every_third_is_bad(record: ImageRecord) -> None:
        if int(record.id) % 3 == 0:
            raise RejectError(Reason.IMAGE_DAMAGED, "is cut off.")

    stage = EchoStage(every_third_is_bad)
    serve(connection, stage, Daemon(breaker_window=40, breaker_share=0.5))

    assert pause_of(connection, "test") is None
    assert len(stage.executed) == 200


def test_a_paused_run_does_not_keep_the_runs_behind_it_waiting(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 100)
    other = Enqueuer(connection, RunDirectory(runs_dir, "other"), Runs(connection))
    other.enqueue(rows(10), report=print, make_room=lambda: None)
    pause(connection, "test", WHY)

    stage = EchoStage()
    serve(connection, stage)

    assert sorted(stage.executed) == list(range(1, 11))
    assert aside(connection) == 100
    assert enqueue(connection, runs_dir, 100).counts.live == 100


def test_resumed_jobs_come_back_in_their_order_before_those_behind_them(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 500)
    pause(connection, "test", WHY)
    serve(connection, EchoStage())
    resume(connection, "test")
    enqueue(connection, runs_dir, 510)

    stage = EchoStage(max_in_flight=1)
    serve(connection, stage)

    assert stage.executed == list(range(1, 511))


def test_a_run_that_is_resumed_before_anybody_looked_forgets_no_job(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 10)
    claims = Claims(connection, GENERATE, "worker", process="1@elsewhere", result_ttl_s=60)
    recovery = Recovery(claims, max_crashes=3)
    recovery.bring_back()

    pause(connection, "test", WHY)
    assert claims.claim(10, 0) == []
    resume(connection, "test")

    assert recovery.bring_back() == 10
    assert rq_queue(GENERATE, connection).count == 10


def test_no_more_are_started_than_asked_for_behind_many_of_a_paused_run(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1000)
    other = Enqueuer(connection, RunDirectory(runs_dir, "other"), Runs(connection))
    other.enqueue(rows(10), report=print, make_room=lambda: None)
    pause(connection, "test", WHY)
    claims = Claims(connection, GENERATE, "worker", process="1@elsewhere", result_ttl_s=60)

    assert len(claims.claim(3, 0)) == 3

    assert aside(connection) == 1000
    assert rq_queue(GENERATE, connection).count == 7


def test_the_first_reason_of_a_pause_stays(connection: redis.Redis) -> None:
    assert pause(connection, "test", WHY)
    assert not pause(connection, "test", Pause.now("transient", "later", "another"))

    assert pause_of(connection, "test") == WHY
    assert resume(connection, "test")
    assert not resume(connection, "test")


def test_a_run_whose_files_are_at_fault_is_paused_and_no_crash_or_try_is_counted(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 5)

    async def damaged(_: ImageRecord) -> None:
        raise RunError("results.jsonl, line 7 is no record")

    serve(connection, EchoStage(damaged))

    why = pause_of(connection, "test")
    assert why is not None
    assert why.reason == "run_directory"
    resume(connection, "test")
    stage = EchoStage()
    serve(connection, stage)
    assert sorted(stage.executed) == [1, 2, 3, 4, 5]


@pytest.fixture
def begun(redis_url: str, runs_dir: Path, tmp_path: Path) -> list[object]:
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n')
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    assert run_contextvqa("enqueue", source, "--run", "begun", *places).returncode == 0
    return places


def test_status_says_why_a_run_is_paused_and_what_to_do(begun: list[object]) -> None:
    assert run_contextvqa("pause", "begun", *begun).returncode == 0

    shown = run_contextvqa("status", "begun", *begun)
    as_json = orjson.loads(run_contextvqa("status", "begun", *begun, "--json").stdout)
    again = run_contextvqa("pause", "begun", *begun)

    assert "paused since" in shown.stdout
    assert "contextvqa resume begun" in shown.stdout
    assert as_json["paused"]["reason"] == "operator"
    assert "paused already" in again.stderr

    assert run_contextvqa("resume", "begun", *begun).returncode == 0
    assert "paused" not in run_contextvqa("status", "begun", *begun).stdout


def test_a_run_that_is_not_there_cannot_be_paused_or_resumed(begun: list[object]) -> None:
    for command in ("pause", "resume"):
        done = run_contextvqa(command, "nobody", *begun)
        assert done.returncode == 2
        assert "there is no run 'nobody'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_producer_of_a_paused_run_waits_and_goes_on_when_it_is_resumed(
    connection: redis.Redis, runs_dir: Path, begun: list[object], tmp_path: Path
) -> None:
    source = tmp_path / "more.jsonl"
    source.write_text("".join(f'{{"image": "{number}.png"}}\n' for number in range(50)))
    pause(connection, "begun", WHY)

    async def scenario() -> int:
        enqueueing = asyncio.create_task(
            asyncio.to_thread(run_contextvqa, "enqueue", source, "--run", "begun", *begun)
        )
        _, still_waiting = await asyncio.wait([enqueueing], timeout=2)
        assert still_waiting
        assert rq_queue(GENERATE, connection).count == 1
        resume(connection, "begun")
        return (await enqueueing).returncode

    assert asyncio.run(scenario()) == 0
    assert rq_queue(GENERATE, connection).count == 51
    assert RunDirectory(runs_dir, "begun").exists()


def test_a_look_that_is_under_way_when_a_run_is_paused_forgets_nothing(
    connection: redis.Redis, runs_dir: Path
) -> None:
    # Given two thousand records, many in flight, and claims that go on while they fail
    enqueue(connection, runs_dir, 2000)

    async def fail_soon(record: ImageRecord) -> None:
        await asyncio.sleep(0.001 * (int(record.id) % 7))
        await lost_mount(record)

    serve(connection, EchoStage(fail_soon, max_in_flight=160))

    # Then the rejects are those that it took to see it
    assert rq_queue(REFINE, connection).count == 50
