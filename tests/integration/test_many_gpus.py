"""One worker command on a host with three GPUs: the real command, server, queue and files."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import psutil
import pytest
import redis
from PIL import Image

from contextvqa.queueing.queues import GENERATE, rq_queue, worker_executions_key
from tests.faults.engine import MODEL
from tests.scrapes import Scrape, free_ports, url_of
from tests.support import (
    ROOT,
    clean_environment,
    contextvqa,
    read_lines,
    run_contextvqa,
    wait_until,
)

NUM_RECORDS = 300
#: What the driver of the host says.
DRIVER = """#!/bin/sh
for number in 0 1 2; do echo "GPU $number: A GPU (UUID: GPU-$number)"; done
"""

Start = Callable[..., subprocess.Popen[str]]


class Host:
    """What the workers of a host noted of themselves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def starts(self, gpu: int) -> list[tuple[int, int]]:
        """Return the worker and engine processes that were started on a GPU, oldest first."""
        path = self.directory / str(gpu)
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(worker), int(engine)) for worker, engine in map(str.split, lines)]

    def num_starts(self) -> list[int]:
        return [len(self.starts(gpu)) for gpu in range(3)]

    def is_any_alive(self) -> bool:
        pids = {pid for gpu in range(3) for start in self.starts(gpu) for pid in start}
        return any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with a driver; afterwards nothing of its workers may be left."""
    directory = tmp_path / "host"
    directory.mkdir()
    host = Host(directory)
    yield host
    wait_until(lambda: not host.is_any_alive(), 60)


@pytest.fixture
def places(redis_url: str, runs_dir: Path) -> list[object]:
    return ["--redis-url", redis_url, "--runs-dir", runs_dir]


@pytest.fixture
def source(tmp_path: Path, places: list[object]) -> Path:
    """An input whose records are queued."""
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    rows = [{"id": number, "image": "image.png"} for number in range(NUM_RECORDS)]
    source = tmp_path / "in.json"
    source.write_bytes(orjson.dumps(rows))
    run = ("--run", "r", "--model", MODEL, "--max-attempts", 20)
    assert run_contextvqa("enqueue", source, *run, *places).returncode == 0
    return source


@pytest.fixture
def start(host: Host, tmp_path: Path, redis_url: str) -> Iterator[Start]:
    """Start a worker command on three GPUs."""
    processes: list[subprocess.Popen[str]] = []
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(DRIVER)
    (programs / "nvidia-smi").chmod(0o755)

    def begin(**variables: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        flags = ["--model", MODEL, "--image-root", tmp_path, "--gpus", "all"]
        flags += ["--redis-url", redis_url]
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.integration.gpu_worker",
                host.directory,
                *map(str, flags),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment() | {"PATH": path} | variables,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with process:  # closes its pipes, and waits
            process.terminate()


def work_off(places: list[object]) -> None:
    """Refine what comes until nothing is on its way."""
    with subprocess.Popen(
        contextvqa("refiner", *places), stderr=subprocess.DEVNULL, env=clean_environment()
    ) as refiner:
        try:
            done = run_contextvqa("wait", "r", "--timeout-s", 120, *places)
        finally:
            refiner.terminate()
    assert done.returncode == 0, done.stderr


def pid_at(port: int) -> int:
    """Return the worker process whose metrics are served at a port, as its name tells."""
    ((name,),) = Scrape(url_of(port)).count("contextvqa_daemon_info", "worker")
    return int(name.split("-")[-2])


def num_in_flight(connection: redis.Redis, place: str) -> int:
    """Return how many executions the workers of a place have."""
    keys = connection.scan_iter(worker_executions_key(f"*-{place}-*"))
    return sum(connection.scard(key) for key in keys)


def test_a_killed_worker_of_one_gpu_costs_no_record_and_disturbs_no_other(
    connection: redis.Redis,
    source: Path,
    start: Start,
    host: Host,
    places: list[object],
    runs_dir: Path,
) -> None:
    generate = rq_queue(GENERATE, connection)
    port = free_ports(3)
    supervisor = start(CONTEXTVQA_METRICS_PORT=str(port))
    wait_until(lambda: all(num_in_flight(connection, f"gpu{number}") for number in range(3)))
    ((killed, engine),) = host.starts(1)

    os.kill(killed, signal.SIGKILL)
    assert generate.count > 0

    wait_until(lambda: host.num_starts() == [1, 2, 1])
    assert not is_alive(engine)
    # Whoever follows on a GPU serves its metrics where those of the dead one were.
    serving = [pid_at(port + gpu) for gpu in range(3)]
    assert serving == [host.starts(gpu)[-1][0] for gpu in range(3)]
    work_off(places)
    supervisor.terminate()
    _, said = supervisor.communicate()
    assert supervisor.returncode == 0, said
    assert host.num_starts() == [1, 2, 1]
    assert not host.is_any_alive()
    audit = run_contextvqa("audit", "r", "--input", source, *places)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    lines = read_lines(runs_dir / "r" / "results.jsonl")
    assert sorted(line["id"] for line in lines) == list(range(NUM_RECORDS))
    workers = Counter(line["meta"]["worker"].rsplit("-", 3)[1] for line in lines)
    assert set(workers) == {"gpu0", "gpu1", "gpu2"}
    ready = [line for line in said.splitlines() if "] ready: worker generate-" in line]
    assert sorted(line.split()[3] for line in ready) == ["[gpu0]", "[gpu1]", "[gpu1]", "[gpu2]"]


@pytest.mark.usefixtures("source")
def test_a_killed_supervisor_leaves_neither_workers_nor_engines(start: Start, host: Host) -> None:
    supervisor = start()
    wait_until(lambda: host.num_starts() == [1, 1, 1])

    supervisor.kill()

    wait_until(lambda: not host.is_any_alive())


def test_a_gpu_that_ends_every_worker_is_given_up_and_the_others_do_the_work(
    source: Path,
    start: Start,
    host: Host,
    places: list[object],
) -> None:
    supervisor = start(BROKEN_GPU="2")

    work_off(places)
    wait_until(lambda: len(host.starts(2)) == 5)
    supervisor.terminate()
    _, said = supervisor.communicate()

    assert supervisor.returncode == 0, said
    assert host.num_starts() == [1, 1, 5]
    assert "supervisor: gpu2 is given up with code 3, 2 of 3 workers are left: 5 worker" in said
    assert run_contextvqa("audit", "r", "--input", source, *places).returncode == 0


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--gpus", "all"], 3, "--gpus is for the vLLM of contextvqa[gpu]"),
        (["--cpus", "0,999999"], 2, "--cpus names core 999999, and this process may use"),
        (["--cpus", "0", "--gpus", "0"], 2, "--gpus and --cpus do not go together"),
    ],
)
def test_what_is_not_here_ends_the_command_with_one_line_before_anything_starts(
    flags: list[str], code: int, said: str
) -> None:
    done = run_contextvqa("worker", *flags)

    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"contextvqa: error: {said}")
