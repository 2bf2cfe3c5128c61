"""What a broken engine costs: the real vLLM, killed, stopped and left behind in the middle of a run."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from contextvqa.connection import connect
from contextvqa.runs import Runs
from contextvqa.server import EmbeddedServer
from contextvqa.sessions import MARKER
from tests.support import (
    FLAGS,
    ROOT,
    clean_environment,
    contextvqa,
    read_lines,
    run_contextvqa,
    wait_until,
)

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

NUM_RECORDS = 200
STALL_TIMEOUT_S = 5


def engines() -> list[psutil.Process]:
    """Return the living engine processes of all workers."""
    return [process for process in marked() if process.name().startswith("VLLM::EngineCo")]


def marked() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if MARKER in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            pass


class Pipeline:
    """A server, a refiner and a supervised worker, whose engine the tests break."""

    def __init__(self, directory: Path, url: str, images: Path) -> None:
        self.runs_dir = directory / "runs"
        self.connection = connect(url)
        self.images = images
        self.log = directory / "worker.log"
        self._shared = ["--redis-url", url, "--runs-dir", self.runs_dir]
        self.refiner = self._start("refiner", directory / "refiner.log")
        self.start_worker()

    def start_worker(self) -> None:
        """Start a worker with a supervisor of its own."""
        self.worker = self._start(
            *("worker", self.log, "--model", FLAGS / "model", "--image-root", self.images),
            *("--engine", "max_num_seqs=32", "--stall-timeout-s", STALL_TIMEOUT_S),
        )

    def enqueue(self, run: str) -> None:
        """Enqueue all images as a run, and return when some of its records have ended."""
        done = run_contextvqa(
            *("enqueue", self.images / "data.json", "--run", run, *self._shared),
            *("--model", FLAGS / "model"),
        )
        assert done.returncode == 0, done.stderr
        results = self.runs_dir / run / "results.jsonl"
        wait_until(lambda: results.exists() and results.read_bytes().count(b"\n") > 20)
        assert len(read_lines(results)) < NUM_RECORDS

    def assert_each_record_ends_once(self, run: str) -> None:
        """Wait for the end of a run: no record is missing, doubled, or blamed for the crash."""
        wait_until(lambda: not Runs(self.connection).num_pending(run), 120)
        results = read_lines(self.runs_dir / run / "results.jsonl")
        rejects = read_lines(self.runs_dir / run / "rejects.jsonl")
        labels = orjson.loads((self.images / "labels.json").read_bytes())
        ids = [line["id"] for line in [*results, *rejects]]
        assert sorted(ids) == sorted(labels)
        assert {line["stage"] for line in rejects} <= {"refine"}

    def stop(self) -> None:
        """Stop the daemons as an operator does."""
        for process in (self.worker, self.refiner):
            process.terminate()
        assert [self.worker.wait(60), self.refiner.wait(60)] == [0, 0]

    def _start(self, command: str, log: Path, *arguments: object) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                contextvqa(command, *self._shared, *arguments),
                stdin=subprocess.DEVNULL,
                stderr=file,
                env=clean_environment(),
            )


@pytest.fixture(scope="module")
def pipeline(
    tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer
) -> Iterator[Pipeline]:
    """One for all: loading a model is what takes time here."""
    directory = tmp_path_factory.mktemp("faults")
    images = directory / "images"
    draw = ["examples.flags.drawing", str(images), "--count", str(NUM_RECORDS), "--seed", "99"]
    subprocess.run([sys.executable, "-m", *draw], cwd=ROOT, check=True, capture_output=True)
    connect(server.url).flushall()
    pipeline = Pipeline(directory, server.url, images)
    yield pipeline
    pipeline.stop()
    assert list(marked()) == []


def test_an_engine_killed_in_the_middle_is_replaced_and_costs_no_record(
    pipeline: Pipeline,
) -> None:
    pipeline.enqueue("killed")
    (engine,) = engines()

    engine.kill()

    pipeline.assert_each_record_ends_once("killed")
    said = pipeline.log.read_text()
    assert "engine of model" in said
    assert "ended with code 70 after" in said
    assert engine not in engines()
    assert len(engines()) == 1


def test_an_engine_that_hangs_is_noticed_and_replaced_and_costs_no_record(
    pipeline: Pipeline,
) -> None:
    pipeline.enqueue("stopped")
    (engine,) = engines()

    engine.suspend()

    pipeline.assert_each_record_ends_once("stopped")
    assert "hangs: no token for " in pipeline.log.read_text()
    assert engine not in engines()
    assert len(engines()) == 1


def test_an_engine_left_behind_is_killed_before_the_next_worker_loads_its_own(
    pipeline: Pipeline,
) -> None:
    # Given a supervisor and a worker process that were killed, and an engine that was not
    pipeline.enqueue("orphaned")
    (engine,) = engines()
    worker = os.getsid(engine.pid)
    pipeline.worker.kill()
    os.kill(worker, signal.SIGKILL)
    pipeline.worker.wait()
    assert engines() == [engine]

    # When another worker starts
    pipeline.start_worker()

    # Then it is alone, and does what was left to do
    wait_until(lambda: not engine.is_running())
    pipeline.assert_each_record_ends_once("orphaned")
    assert f"({engine.pid}), left behind by a worker process" in pipeline.log.read_text()
    assert len(engines()) == 1
