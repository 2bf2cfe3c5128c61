"""`contextvqa wait`: returns when a run is complete, and says why where it will not be."""

import subprocess
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from contextvqa.errors import IncompleteError
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.pauses import Pause, pause
from contextvqa.settings import Sampling
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching import wait
from tests.integration.stand_in import BAD, GOOD, ONCE, work_off
from tests.support import clean_environment, contextvqa, run_contextvqa, wait_until


@pytest.fixture
def places(redis_url: str, runs_dir: Path, tmp_path: Path) -> list[object]:
    """A run of three queued records; the options that name its places."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n{"image": "b.png"}\n{"image": "c.png"}\n')
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    assert run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places).returncode == 0
    return places


def test_it_returns_when_the_last_record_has_ended_and_not_before(
    connection: redis.Redis, places: list[object], runs_dir: Path
) -> None:
    with subprocess.Popen(
        contextvqa("wait", "r", *places),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)

        work_off(connection, lambda _: GOOD, places)

        output, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert output.strip() == str(runs_dir / "r" / "results.jsonl")
    assert "complete: 3 records, 3 accepted, 0 rejected" in said


def test_too_many_rejects_are_exit_code_4_and_retry_is_named(
    connection: redis.Redis, places: list[object]
) -> None:
    work_off(connection, lambda _: BAD, places)

    done = run_contextvqa("wait", "r", *places)

    assert done.returncode == 4
    assert "3 x parse.no_pairs" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("contextvqa retry r --reason CODE")
    assert run_contextvqa("wait", "r", "--max-rejects", "100%", *places).returncode == 0


def test_a_timeout_is_exit_code_5_with_what_is_left(places: list[object]) -> None:
    done = run_contextvqa("wait", "r", "--timeout-s", 0.5, *places)

    assert done.returncode == 5
    assert "0 records have ended, 3 are pending" in done.stderr.splitlines()[-1]


def test_a_paused_run_is_not_waited_for(connection: redis.Redis, places: list[object]) -> None:
    pause(connection, "r", Pause.now("image.not_found", "no such file", "worker-1"))

    done = run_contextvqa("wait", "r", *places)

    assert done.returncode == 5
    assert "no such file" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith("contextvqa resume r")


def test_lost_jobs_are_not_waited_for(
    connection: redis.Redis, places: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "LOST_AFTER_S", 0.5)
    connection.delete("rq:queue:generate")

    done = CliRunner().invoke(wait.command, ["r", *map(str, places)])

    assert isinstance(done.exception, IncompleteError)
    assert "3 records of run 'r' are pending, and no queue holds a job" in str(done.exception)


def test_a_run_that_nobody_has_enqueued_into_is_waited_for(
    places: list[object], runs_dir: Path
) -> None:
    RunDirectory(runs_dir, "new").begin("m", Sampling(), "in.json")

    done = run_contextvqa("wait", "new", "--timeout-s", 1, *places)

    assert done.returncode == 5


def test_a_run_without_a_server_is_exit_code_3(runs_dir: Path) -> None:
    with EmbeddedServer(runs_dir / "r" / "redis"):
        RunDirectory(runs_dir, "r").begin("m", Sampling(), "in.json")

    done = run_contextvqa("wait", "r", "--runs-dir", runs_dir)

    assert done.returncode == 3
    assert "is not running" in done.stderr


def test_a_server_that_restarts_is_waited_for(runs_dir: Path, tmp_path: Path) -> None:
    # Given a run whose end is waited for
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n')
    with EmbeddedServer(tmp_path / "redis") as server, connect(server.url) as connection:
        places: list[object] = ["--runs-dir", runs_dir, "--redis-url", server.url]
        assert run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places).returncode == 0
        with subprocess.Popen(
            contextvqa("wait", "r", *places), stderr=subprocess.PIPE, env=clean_environment()
        ) as process:
            # When the server is away until that is noticed
            wait_until(lambda: len(connection.client_list()) > 1)
            server.stop()
            assert process.stderr is not None
            assert b"trying again in" in process.stderr.readline()
            server.start()
            work_off(connection, lambda _: GOOD, places)

            # Then its end is seen
            assert process.wait(60) == 0
