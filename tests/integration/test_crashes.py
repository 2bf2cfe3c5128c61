"""What a dead engine, a dead worker and a dead server leave behind, and who takes it up."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from contextvqa.errors import CrashError, RestartError
from contextvqa.queueing import reaper
from contextvqa.queueing.claims import WORKER_TTL_S, Claims
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.job_hash import count
from contextvqa.queueing.outcomes import Finished
from contextvqa.queueing.pauses import pause_of
from contextvqa.queueing.queues import GENERATE, REFINE, claimants_key, rq_queue
from contextvqa.queueing.reaper import Reaper, host_identity, process_identity
from contextvqa.queueing.recovery import Recovery
from contextvqa.records import ImageRecord
from contextvqa.settings import Daemon
from tests.stages import BURST, EchoStage, assert_nothing_is_left, enqueue, pending, serve


def crash_counts(connection: redis.Redis) -> list[int]:
    queue = rq_queue(GENERATE, connection)
    return [count(connection.hget(job.key, "crash_count")) for job in queue.jobs]


def claims_of(connection: redis.Redis, worker: str, process: str) -> Claims:
    return Claims(connection, GENERATE, worker, process=process, result_ttl_s=60)


def reaper_of(connection: redis.Redis) -> Reaper:
    claims = claims_of(connection, "reaper", process_identity())
    return Reaper(claims, Recovery(claims, max_crashes=3))


def test_a_dead_engine_counts_a_crash_for_all_that_was_in_flight_and_ends_the_worker_at_once(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 20)

    async def the_third_kills_the_engine(record: ImageRecord) -> None:
        if record.id == 3:
            raise CrashError("the engine died")
        await asyncio.Event().wait()

    with pytest.raises(CrashError):
        serve(connection, EchoStage(the_third_kills_the_engine, max_in_flight=8))

    assert crash_counts(connection) == [1] * 8 + [0] * 12
    assert_nothing_is_left(connection)


def test_one_record_that_always_kills_the_engine_is_rejected_and_no_other(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 100)

    async def poison(record: ImageRecord) -> None:
        await asyncio.sleep(0)
        if record.id == 42:
            raise CrashError("the engine died")

    stage, num_deaths = EchoStage(poison), 0
    for _ in range(20):
        try:
            serve(connection, stage)
            break
        except CrashError:
            num_deaths += 1

    assert num_deaths == 4
    assert sorted(set(stage.executed)) == [n for n in range(1, 101) if n != 42]
    rejections = [
        job.kwargs["rejection"]
        for job in rq_queue(REFINE, connection).jobs
        if "rejection" in job.kwargs
    ]
    assert [(r["record"]["id"], r["reason"]) for r in rejections] == [(42, "job.crashed")]


def test_an_engine_found_hung_by_a_look_at_it_ends_the_worker_as_a_crash(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 4)

    async def hang(_: ImageRecord) -> None:
        stage.ailment = CrashError("no token for 120 s")
        await asyncio.Event().wait()

    stage = EchoStage(hang)
    with pytest.raises(CrashError, match="no token"):
        serve(connection, stage)

    assert crash_counts(connection) == [1, 1, 1, 1]


def test_a_planned_restart_lets_what_is_in_flight_end_and_counts_nothing(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 20)

    async def linger(_: ImageRecord) -> None:
        stage.ailment = RestartError("memory 12.3 GB is above 12.0")
        await worker._stopping.wait()

    stage = EchoStage(linger, max_in_flight=8)
    worker = ConcurrentWorker(stage, connection, Daemon(), BURST)
    with pytest.raises(RestartError, match="memory"):
        asyncio.run(worker.serve())

    assert len(stage.executed) == 8
    assert crash_counts(connection) == [0] * 12
    assert pending(connection) == 20


def test_an_engine_that_dies_while_its_worker_drains_for_a_restart_still_counts_a_crash(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 4)

    async def die_while_draining(record: ImageRecord) -> None:
        stage.ailment = RestartError("memory")
        await worker._stopping.wait()
        if record.id == 1:
            raise CrashError("the engine died")
        await asyncio.Event().wait()

    stage = EchoStage(die_while_draining)
    worker = ConcurrentWorker(stage, connection, Daemon(), BURST)
    with pytest.raises(CrashError):
        asyncio.run(worker.serve())

    assert crash_counts(connection) == [1, 1, 1, 1]


def test_the_jobs_of_a_worker_whose_process_has_gone_come_back_at_the_first_look(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 6)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    dead = claims_of(connection, "dead", f"{gone.pid}@{host_identity()}")
    assert len(dead.claim(4, 0)) == 4

    assert reaper_of(connection).reap() == 4

    assert crash_counts(connection) == [1, 1, 1, 1, 0, 0]
    assert_nothing_is_left(connection)


def test_after_an_outage_a_worker_without_its_key_gets_the_time_to_write_it(
    connection: redis.Redis, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker on another host, whose key Redis lost with all others
    enqueue(connection, runs_dir, 4)
    elsewhere = claims_of(connection, "elsewhere", f"{os.getpid()}@another-host")
    (claim, *_) = elsewhere.claim(4, 0)
    now_s = [100.0]
    monkeypatch.setattr(reaper.time, "monotonic", lambda: now_s[0])
    looker = reaper_of(connection)

    # When another worker looks every three seconds, its first look being the first after the outage
    taken = []
    for _ in range(4):
        taken.append(looker.reap())
        now_s[0] += 3

    # Then it waits long enough for the other to come back, and no longer than that
    assert taken == [0, 0, 0, 0]
    assert looker.reap() == 4
    assert elsewhere.settle([(claim, Finished())]) == [claim]

    # And after another outage it waits again
    assert len(elsewhere.claim(1, 0)) == 1
    now_s[0] += 60
    assert looker.reap() == 0


def test_what_a_worker_held_that_nobody_knows_of_any_more_is_found(
    connection: redis.Redis, runs_dir: Path
) -> None:
    # Given a worker that claimed, and a server that then lost the note of who that was
    enqueue(connection, runs_dir, 3)
    lost = claims_of(connection, "lost", "1@another-host")
    lost.claim(3, 0)
    connection.delete(claimants_key(GENERATE))

    assert reaper_of(connection).reap() == 3

    assert rq_queue(GENERATE, connection).count == 3
    assert_nothing_is_left(connection)


def test_ids_claimed_and_not_started_by_a_worker_nobody_knows_of_are_put_back(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 5)
    lost = claims_of(connection, "lost", "1@another-host")
    lost._take(3)
    connection.delete(claimants_key(GENERATE))

    reaper_of(connection).reap()

    assert rq_queue(GENERATE, connection).count == 5
    assert_nothing_is_left(connection)


def test_ids_that_a_slow_call_moves_late_are_claimed_later_and_not_lost(
    connection: redis.Redis, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker whose earlier call timed out, and reaches the server only now
    enqueue(connection, runs_dir, 6)
    claims = claims_of(connection, "worker", process_identity())
    look = claims._payload_sizes

    def move_late(job_ids: list[str]) -> dict[str, int]:
        connection.lmove(claims.queue.key, claims.claimed_key, "LEFT", "RIGHT")
        return look(job_ids)

    monkeypatch.setattr(claims, "_payload_sizes", move_late)
    first = claims.claim(2, 0)
    monkeypatch.undo()

    assert len(first) == 2
    assert len(claims.claim(6, 2)) == 4


def test_a_worker_s_own_job_started_without_its_knowing_is_returned_uncounted(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 2)
    claims = claims_of(connection, "worker", process_identity())
    claims.claim(2, 0)
    claims.held.clear()  # as after a transaction whose reply was lost

    recovery = Recovery(claims, max_crashes=3)
    assert recovery.take_back_strays("rq:worker:worker:executions") == 2

    assert crash_counts(connection) == [0, 0]


def test_a_server_that_is_away_in_the_middle_of_executions_pauses_no_run_and_rejects_nothing(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 200)
    failed: set[int | str] = set()

    async def ask_redis(record: ImageRecord) -> None:
        if record.id not in failed:
            failed.add(record.id)
            raise redis.ConnectionError("Connection refused")

    stage = EchoStage(ask_redis)
    serve(connection, stage)

    assert sorted(stage.executed) == list(range(1, 201))
    assert pause_of(connection, "test") is None


def test_a_worker_s_key_lives_no_longer_than_it_says(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1)
    lives: list[int] = []

    async def look(_: ImageRecord) -> None:
        lives.append(connection.ttl(worker.key))

    worker = ConcurrentWorker(EchoStage(look), connection, Daemon(), BURST)
    asyncio.run(worker.serve())

    assert 0 < lives[0] <= WORKER_TTL_S
