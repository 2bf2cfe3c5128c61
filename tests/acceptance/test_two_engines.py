"""One worker command with two real engines, each on a core of its own."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from contextvqa.processes.sessions import sessions_below
from tests.second_host import in_turn
from tests.support import (
    FLAGS,
    clean_environment,
    contextvqa,
    read_lines,
    run_contextvqa,
    wait_until,
)

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores"),
]


def cores_of(session: int) -> set[int]:
    """Return the cores that the threads of a session's processes may use."""
    pids = [pid for pid in psutil.pids() if psutil.pid_exists(pid) and os.getsid(pid) == session]
    threads = [int(path.name) for pid in pids for path in Path(f"/proc/{pid}/task").iterdir()]
    return {core for thread in threads for core in os.sched_getaffinity(thread)}


def test_two_engines_share_the_work_each_on_its_own_core_and_drain_together(
    redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    # Given a run's records, and a worker command with two engines that are ready
    server = ["--redis-url", redis_url]
    places = [*server, "--runs-dir", runs_dir]
    model = ["--model", FLAGS / "model"]
    first, second = sorted(os.sched_getaffinity(0))[:2]
    # So few in flight that one engine cannot claim all there is.
    devices = ["--cpus", first, "--cpus", second, "--max-in-flight", 4]
    log = tmp_path / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            in_turn(contextvqa("worker", "--image-root", FLAGS, *devices, *model, *server)),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=clean_environment(),
        ) as worker,
        subprocess.Popen(
            in_turn(contextvqa("refiner", *places)),
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        ) as refiner,
    ):
        try:
            wait_until(
                lambda: worker.poll() is not None or "2 of 2 workers are ready" in log.read_text(),
                300,
            )
            assert worker.poll() is None, log.read_text()

            # When they work
            source = FLAGS / "sample_data.json"
            run = ("--run", "r", *model, *places)
            assert run_contextvqa("enqueue", source, *run).returncode == 0
            done = run_contextvqa("wait", "r", "--timeout-s", 200, *places)

            # Then both did, each on its core
            assert done.returncode == 0, done.stderr
            sessions = sessions_below(worker.pid) - {os.getsid(worker.pid)}
            assert sorted(map(sorted, map(cores_of, sessions))) == [[first], [second]]
        finally:
            worker.terminate()
            refiner.terminate()
    said = log.read_text()
    assert worker.returncode == 0, said
    assert sum("stopped:" in line for line in said.splitlines()) == 2
    lines = read_lines(runs_dir / "r" / "results.jsonl")
    names = {line["meta"]["worker"].rsplit("-", 3)[1] for line in lines}
    assert names == {f"cpu{first}", f"cpu{second}"}
    assert run_contextvqa("audit", "r", "--input", source, *places).returncode == 0
