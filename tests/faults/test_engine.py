"""What a broken engine costs: the real vLLM, killed, stopped and left behind in the middle of a run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from contextvqa.processes.server import EmbeddedServer
from contextvqa.processes.sessions import MARKER
from contextvqa.queueing.connection import connect
from contextvqa.queueing.runs import Runs
from tests.faults.ledger import Findings
from tests.faults.plan import Trial, trials
from tests.faults.report import report
from tests.support import (
    FLAGS,
    ROOT,
    clean_environment,
    contextvqa,
    read_lines,
    run_contextvqa,
    wait_until,
)

pytestmark = pytest.mark.vllm

NUM_RECORDS = 100
STALL_TIMEOUT_S = 5
#: In the environment of our processes: another worker of this machine may be at work too.
OURS = {"ENGINE_TRIALS_OF": str(os.getpid())}
#: Seconds for another engine to load, and for the suspects of the last one to run a few at a time.
PATIENCE_S = 240.0


def engines() -> list[psutil.Process]:
    """Return the living engine processes of our workers."""
    return [process for process, name in marked() if name.startswith("VLLM::EngineCo")]


def marked() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        try:
            is_ours = OURS.items() <= process.environ().items() and MARKER in process.environ()
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.name()
        except psutil.Error:
            pass


class Pipeline:
    """A server, a refiner and a supervised worker, whose engine the trials break."""

    def __init__(self, directory: Path, url: str, images: Path) -> None:
        self.runs_dir = directory / "runs"
        self.connection = connect(url)
        self.images = images
        self.log = directory / "worker.log"
        self._server = ["--redis-url", url]
        self.refiner = self._start(
            "refiner", directory / "refiner.log", "--runs-dir", self.runs_dir
        )
        self.start_worker()

    def start_worker(self) -> None:
        """Start a worker with a supervisor of its own."""
        self.worker = self._start(
            *("worker", self.log, "--model", FLAGS / "model", "--image-root", self.images),
            *("--engine", "max_num_seqs=16", "--stall-timeout-s", STALL_TIMEOUT_S),
        )

    def begin(self, run: str) -> psutil.Process:
        """Enqueue all images as a run; return its engine when some of its records have ended."""
        done = run_contextvqa(
            *("enqueue", self.images / "data.json", "--run", run, *self._server),
            *("--model", FLAGS / "model", "--runs-dir", self.runs_dir),
        )
        assert done.returncode == 0, done.stderr
        results = self.runs_dir / run / "results.jsonl"
        wait_until(lambda: results.exists() and results.read_bytes().count(b"\n") > 20)
        (engine,) = engines()
        return engine

    def count_in_flight(self) -> int:
        """Return how many records the worker holds now."""
        return self.connection.zcard("rq:wip:generate")

    def assert_each_record_ends_once(self, trial: Trial, run: str, num_in_flight: int) -> None:
        """Wait for the end of a run: no record is missing, doubled, or blamed for the crash."""
        wait_until(lambda: not Runs(self.connection).num_pending(run), PATIENCE_S)
        results = read_lines(self.runs_dir / run / "results.jsonl")
        rejects = read_lines(self.runs_dir / run / "rejects.jsonl")
        labels = orjson.loads((self.images / "labels.json").read_bytes())
        ids = [line["id"] for line in [*results, *rejects]]
        findings = Findings(
            lost=sorted(set(labels) - set(ids)),
            doubled=sorted({identifier for identifier in ids if ids.count(identifier) > 1}),
            misjudged=[line["message"] for line in rejects if line["stage"] != "refine"],
        )
        report.add(trial.fault, findings, 1, num_in_flight)
        assert not findings, str(findings)

    def stop(self) -> None:
        """Stop the daemons as an operator does."""
        for process in (self.worker, self.refiner):
            process.terminate()
        assert [self.worker.wait(60), self.refiner.wait(60)] == [0, 0]

    def _start(self, command: str, log: Path, *arguments: object) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                contextvqa(command, *self._server, *arguments),
                stdin=subprocess.DEVNULL,
                stderr=file,
                env=clean_environment() | OURS,
            )


@pytest.fixture
def pipeline(tmp_path: Path, server: EmbeddedServer) -> Iterator[Pipeline]:
    """One for all trials: loading a model is what takes time here."""
    images = tmp_path / "images"
    draw = ["examples.flags.drawing", str(images), "--count", str(NUM_RECORDS), "--seed", "99"]
    subprocess.run([sys.executable, "-m", *draw], cwd=ROOT, check=True, capture_output=True)
    connect(server.url).flushall()
    pipeline = Pipeline(tmp_path, server.url, images)
    yield pipeline
    pipeline.stop()
    assert list(marked()) == []


def kill(engine: psutil.Process, _: Pipeline) -> str:
    """Kill the engine, as the kernel does when memory is short."""
    engine.kill()
    return "ended with code 70 after"


def hang(engine: psutil.Process, _: Pipeline) -> str:
    """Stop the engine: it looks alive and writes nothing."""
    engine.suspend()
    return "hangs: no token for "


def orphan(engine: psutil.Process, pipeline: Pipeline) -> str:
    """Kill the supervisor and the worker process, and start another worker beside the engine."""
    worker = os.getsid(engine.pid)
    pipeline.worker.kill()
    os.kill(worker, signal.SIGKILL)
    pipeline.worker.wait()
    assert engines() == [engine]
    pipeline.start_worker()
    return f"({engine.pid}), left behind by a worker process"


FAULTS = (kill, hang, orphan)


def test_an_engine_killed_stopped_or_left_behind_is_replaced_and_costs_no_record(
    pipeline: Pipeline,
) -> None:
    for trial in trials("engine"):
        # Given an engine in the middle of a run
        began = time.monotonic()
        run = f"trial-{trial.number}"
        engine = pipeline.begin(run)
        time.sleep(trial.random.uniform(0, 0.5))
        num_in_flight = pipeline.count_in_flight()
        num_said = len(pipeline.log.read_text())

        # When it is broken
        says = FAULTS[trial.number % len(FAULTS)](engine, pipeline)

        # Then that is noticed, another one takes its place, and each record ends once
        pipeline.assert_each_record_ends_once(trial, run, num_in_flight)
        assert says in pipeline.log.read_text()[num_said:]
        assert engine not in engines()
        assert len(engines()) == 1
        report.add_time(trial.fault, time.monotonic() - began)
