"""Metrics of real daemons and of a real server, as Prometheus gets them."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from rq.suspension import resume as rq_resume
from rq.suspension import suspend

from contextvqa.gates import Quality
from contextvqa.listening import listen
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing import daemon as daemon_module
from contextvqa.queueing.connection import connect
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.meter import Hold
from contextvqa.queueing.pauses import Pause, pause
from contextvqa.queueing.queues import REFINE, rq_queue
from contextvqa.records import ImageRecord
from contextvqa.settings import Daemon, Guards, Lifetime, Sampling
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching.aggregate import Aggregate
from contextvqa.watching.server_metrics import look_at
from tests.integration.stand_in import BAD, GOOD, ONCE, generate, work_off
from tests.scrapes import Scrape, url_in
from tests.stages import EchoStage, enqueue, until
from tests.support import FLAGS, ROOT, clean_environment, contextvqa, run_contextvqa, wait_until


@contextmanager
def serving(log: Path, *arguments: object) -> Iterator[str]:
    """Run a command that serves metrics on a free port; give their URL."""
    with (
        log.open("w") as said,
        subprocess.Popen(
            contextvqa(*arguments, "--metrics-port", 0),
            stderr=said,
            cwd=ROOT,
            env=clean_environment(),
        ) as process,
    ):
        try:
            wait_until(lambda: url_in(log) or process.poll() is not None)
            yield str(url_in(log))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0, log.read_text()


@pytest.fixture
def places(redis_url: str, runs_dir: Path) -> list[object]:
    return ["--redis-url", redis_url, "--runs-dir", runs_dir]


def test_a_daemon_knows_why_it_has_not_more_in_flight(
    connection: redis.Redis, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "BEAT_INTERVAL_S", 0.05)

    async def scenario() -> None:
        gate = asyncio.Event()

        async def wait(_: ImageRecord) -> None:
            await gate.wait()

        stage = EchoStage(wait, max_in_flight=4)
        guards = Guards(refine_high_water=10)
        worker = ConcurrentWorker(stage, connection, Daemon(), Lifetime(), guards=guards)
        assert worker.meter.hold is Hold.LOADING
        working = asyncio.create_task(worker.serve())

        async def held_by(hold: Hold) -> None:
            async with asyncio.timeout(60):
                await until(lambda: worker.meter.hold is hold)

        await held_by(Hold.QUEUE_EMPTY)
        await asyncio.to_thread(enqueue, connection, runs_dir, 60)
        await held_by(Hold.WINDOW)
        gate.set()
        await held_by(Hold.REFINE_BACKLOG)
        suspend(connection)
        await held_by(Hold.SUSPENDED)
        rq_resume(connection)
        pause(connection, "test", Pause.now("operator", "asked for", "a test"))
        connection.delete(rq_queue(REFINE, connection).key)
        await held_by(Hold.PAUSED)
        worker.request_stop(signal.SIGTERM)
        await working
        assert worker.meter.hold is Hold.DRAINING

    asyncio.run(scenario())


def test_an_execution_that_another_has_taken_over_counts_as_lost(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)

    async def lose_the_second(record: ImageRecord) -> None:
        if record.id == 2:
            for claim in list(worker.in_flight):
                if record.key in claim.job.id:
                    connection.hset(claim.job.key, "execution_id", "another")

    worker = ConcurrentWorker(
        EchoStage(lose_the_second), connection, Daemon(), Lifetime(burst=True)
    )
    asyncio.run(worker.serve())

    (settled,) = [
        family for family in worker.meter.collect() if family.name == "contextvqa_settled"
    ]
    counts = {sample.labels["outcome"]: sample.value for sample in settled.samples}
    assert {outcome: count for outcome, count in counts.items() if count} == {
        "finished": 2,
        "lost": 1,
    }


def test_a_refiner_serves_what_it_concludes_and_how_long_its_disk_takes(
    connection: redis.Redis, tmp_path: Path, places: list[object]
) -> None:
    source = FLAGS / "sample_data.json"
    run = ("--run", "r", "--model", "m", *ONCE)
    assert run_contextvqa("enqueue", source, *run, *places).returncode == 0
    with serving(tmp_path / "log", "refiner", *places) as url:
        generate(connection, lambda record: GOOD if int(record.id) > 8 else BAD)
        wait_until(lambda: not connection.exists("contextvqa:pending:r"))
        wait_until(lambda: Scrape(url).value("contextvqa_in_flight") == 0)
        scrape = Scrape(url)

    assert scrape.count("contextvqa_conclusions_total", "conclusion") == {
        ("result",): 40,
        ("reject",): 8,
    }
    assert scrape.count("contextvqa_settled_total", "outcome") == {("finished",): 48}
    assert scrape.value("contextvqa_claims_total", queue="refine") == 48
    assert scrape.value("contextvqa_fsync_seconds_count") >= 2
    assert scrape.value("contextvqa_settle_seconds_count", queue="refine") >= 1
    assert scrape.value("contextvqa_append_seconds_sum") > 0


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_counted(
    connection: redis.Redis, tmp_path: Path, places: list[object], runs_dir: Path
) -> None:
    for run in ("good", "damaged"):
        source = FLAGS / "sample_data.json"
        assert run_contextvqa("enqueue", source, "--run", run, "--model", "m", *ONCE, *places)
    work_off(connection, lambda _: GOOD, places)
    with (runs_dir / "damaged" / "results.jsonl").open("ab") as file:
        file.write(b"no record\n")

    with serving(tmp_path / "log", "metrics", *places) as url:
        readable = Scrape(url).count("contextvqa_run_readable", "run")
        # And a run that is begun later is found.
        assert run_contextvqa("enqueue", source, "--run", "new", "--model", "m", *places)
        scrape = Scrape(url)

    assert readable == {("good",): 1}
    assert scrape.count("contextvqa_run_readable", "run") == {("good",): 1, ("new",): 1}
    assert scrape.count("contextvqa_results_total", "run") == {("good",): 48}
    assert scrape.count("contextvqa_pending", "run") == {("new",): 48}
    said = (tmp_path / "log").read_text()
    assert said.count("run damaged is left out") == 1
    assert "results.jsonl, line 49" in said


def test_a_server_that_is_away_is_a_metric_and_files_are_counted_all_the_same(
    tmp_path: Path, runs_dir: Path
) -> None:
    RunDirectory(runs_dir, "test").begin("m", Sampling(), "in.json", Quality())
    with EmbeddedServer(tmp_path / "redis") as server:
        connection = connect(server.url)
        enqueue(connection, runs_dir, 3)
        aggregate = Aggregate(runs_dir, None, connection, is_for_all=True)
        before = {family.name for family in aggregate.collect()}
    after = {family.name: family for family in aggregate.collect()}

    assert after["contextvqa_redis_up"].samples[0].value == 0
    assert "contextvqa_jobs" in before
    assert after.keys() < before
    assert after["contextvqa_run_readable"].samples[0].value == 1


def test_looking_at_a_server_changes_nothing_there(connection: redis.Redis, runs_dir: Path) -> None:
    enqueue(connection, runs_dir, 3)
    before = sorted(connection.keys("*"))
    connection.config_resetstat()

    look = look_at(connection, ["test"])

    assert look.jobs["generate", "queued"] == look.pending["test"] == 3
    used = {name.removeprefix("cmdstat_") for name in connection.info("commandstats")}
    assert used <= {
        *("llen", "zcard", "scard", "hkeys", "smembers", "hmget", "info"),
        "config|resetstat",
    }
    assert sorted(connection.keys("*")) == before


@pytest.mark.parametrize("command", ["worker", "refiner", "metrics", "run"])
def test_a_port_that_is_taken_ends_a_command_before_it_begins_anything(
    command: str, connection: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    inputs = [FLAGS / "sample_data.json", "--run", "r"] if command == "run" else []
    inputs += ["--redis-url", redis_url]
    with listen("127.0.0.1", 0, option="") as taken:
        port = taken.getsockname()[1]
        done = run_contextvqa(command, *inputs, "--metrics-port", port, cwd=tmp_path)

    assert done.returncode == 3
    assert done.stderr == (
        f"contextvqa: error: 127.0.0.1:{port} is in use; choose another --metrics-port.\n"
    )
    assert connection.keys("*") == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["metrics", "--metrics-port", 65536], "--metrics-port is 65536; it must be 0 to 65535."),
        (["metrics", "--metrics-host", "192.0.2.1"], "cannot listen on 192.0.2.1:9400: "),
        (
            ["run", FLAGS / "sample_data.json", "--run", "r", "--metrics-port", 65534],
            "--metrics-port is 65534, and 65536 is needed as well.",
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_one_line(
    command: list[object], said: str, tmp_path: Path
) -> None:
    done = run_contextvqa(*command, cwd=tmp_path)

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"contextvqa: error: {said}")
