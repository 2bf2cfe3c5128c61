"""`--log-format json`: whoever prints, whatever ends a process, each line on stderr is JSON."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from contextvqa.errors import TransientError
from contextvqa.logs.lines import JsonFormatter
from contextvqa.records import ImageRecord
from contextvqa.settings import Daemon
from tests.integration.test_supervisor import SCRIPT
from tests.stages import EchoStage, enqueue, serve
from tests.support import clean_environment, contextvqa, run_contextvqa

#: A daemon that says and prints things in all ways there are, then does what its argument says.
DAEMON = r"""
import ctypes, logging, os, signal, subprocess, sys, threading, time, warnings
from contextvqa.logs.setup import configure_daemon
from contextvqa.settings import Logs

configure_daemon(Logs(log_format="json"))
log = logging.getLogger("contextvqa")
log.info("logged")
print("printed")
os.write(2, b"written by C\n")
subprocess.run(["sh", "-c", "echo of a child; echo on its stderr >&2"])
warnings.warn("a warning")
logging.getLogger("another.library").warning("of a library")
for name in "ab":
    if os.fork() == 0:
        for _ in range(20):
            # More than goes through a pipe or a socket in one piece.
            log.info((name + "\x01") * 8000)
        os._exit(0)
os.wait(), os.wait()
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
if sys.argv[1] == "abort":
    os.write(2, b"last words")
    ctypes.CDLL(None).abort()
if sys.argv[1] == "orphan":
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(0.01)
        log.info("the orphan goes on")
        print("and prints", flush=True)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
raise ValueError("a bug")
"""
ALWAYS = [
    *("logged", "printed", "written by C", "of a child", "on its stderr", "of a library"),
]


def lines_of(text: str) -> list[dict[str, Any]]:
    """Decode all lines; each must be a log line."""
    lines = [orjson.loads(line) for line in text.splitlines()]
    assert all(
        {"time", "level", "logger", "message", "host", "pid"} <= line.keys() for line in lines
    )
    return lines


@pytest.mark.parametrize(
    ("how", "code", "last"),
    [
        ("abort", -signal.SIGABRT, ["last words"]),
        ("orphan", -signal.SIGKILL, ["the orphan goes on", "and prints"]),
        ("bug", 1, ["ended by a bug: a bug"]),
    ],
)
def test_all_that_a_daemon_prints_is_json_whatever_ends_it(
    how: str, code: int, last: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DAEMON, how],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )

    lines = lines_of(done.stderr)
    said = [line["message"] for line in lines]
    assert (done.returncode, done.stdout) == (code, "")
    assert sorted(ALWAYS) == sorted(said_once for said_once in said if said_once in ALWAYS)
    assert said[-len(last) :] == last
    long = [line["message"] for line in lines if len(line["message"]) == 16_000]
    assert sorted(long) == [(name + "\x01") * 8000 for name in "ab" for _ in range(20)]
    (warning,) = [line for line in lines if "a warning" in line["message"]]
    assert warning["logger"] == "py.warnings"
    (bug,) = [line for line in lines if "a bug ended the thread" in line["message"]]
    assert "ZeroDivisionError" in bug["exception"]


def test_a_supervisor_tells_of_killed_workers_in_json(tmp_path: Path) -> None:
    turns = ["ready-signal:9", "ready-signal:6", "ready-exit:0"]

    done = subprocess.run(
        [*SCRIPT, str(tmp_path), *turns, "--log-format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )

    lines = lines_of(done.stderr)
    assert done.returncode == 0
    for name in ("SIGKILL", "SIGABRT"):
        (line,) = [line for line in lines if f"was killed by {name}" in line["message"]]
        assert (line["level"], line["logger"]) == ("WARNING", "contextvqa")


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What this process logs, as JSON."""
    lines: list[dict[str, Any]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(orjson.loads(JsonFormatter().format(record)))

    handler = Handler()
    log = logging.getLogger("contextvqa")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.setLevel(level)


def test_each_line_about_a_record_names_it_and_others_name_none(
    connection: redis.Redis, runs_dir: Path, logged: list[dict[str, Any]]
) -> None:
    enqueue(connection, runs_dir, 3)

    async def fail_on_second(record: ImageRecord) -> None:
        await asyncio.sleep(0)
        if record.id == 2:
            # As a library would that knows nothing of records, on a thread of its own.
            await asyncio.to_thread(logging.getLogger("contextvqa").warning, "of a library")
            raise TransientError("not now")

    worker = serve(connection, EchoStage(fail_on_second), Daemon(max_retries=1, retry_wait_s=0.0))

    about = [line for line in logged if "key" in line]
    assert len({line["key"] for line in about}) == 1
    assert [line["message"] for line in about].count("of a library") == 2
    assert any(line["message"].startswith("retry 1 in ") for line in about)
    assert {line["run"] for line in about} == {"test"}
    assert {(line["worker"], line["stage"]) for line in logged} == {(worker.name, "generate")}
    assert any(line["message"].startswith("ready: ") for line in logged if "key" not in line)


def test_a_refiner_and_an_enqueue_say_all_in_json(
    redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n{"nothing": 1}\n')
    places = ["--runs-dir", runs_dir, "--redis-url", redis_url, "--log-format", "json"]

    enqueued = run_contextvqa("enqueue", source, "--run", "r", "--json", *places)
    refined = run_contextvqa("refiner", "--burst", *places)

    assert enqueued.returncode == 2
    assert orjson.loads(enqueued.stdout)["enqueued"] == 1
    lines = lines_of(enqueued.stderr)
    assert {line["run"] for line in lines} == {"r"}
    assert lines[-1]["level"] == "ERROR"
    assert "1 of 2 rows are bad" in lines[-1]["message"]
    assert refined.returncode == 0
    assert [line["message"].partition(":")[0] for line in lines_of(refined.stderr)] == [
        *("ready", "stopped")
    ]


def test_a_refiner_that_ctrl_c_reaches_with_its_relay_still_says_how_it_stopped(
    redis_url: str, runs_dir: Path
) -> None:
    with subprocess.Popen(
        contextvqa("refiner", "--runs-dir", runs_dir, "--redis-url", redis_url),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=clean_environment() | {"CONTEXTVQA_LOG_FORMAT": "json"},
    ) as refiner:
        assert refiner.stderr is not None
        assert "ready: " in orjson.loads(refiner.stderr.readline())["message"]

        os.killpg(refiner.pid, signal.SIGINT)
        said = [line["message"] for line in lines_of(refiner.stderr.read())]

    assert refiner.returncode == 0
    assert said == ["drain: SIGINT, 0 in flight", "stopped: 0 jobs settled"]


def test_a_password_of_the_servers_url_is_in_no_line(runs_dir: Path) -> None:
    url = "redis://:very-secret@127.0.0.1:1/0"

    done = run_contextvqa(
        *("refiner", "--runs-dir", runs_dir, "--redis-url", url, "--log-format", "json")
    )

    assert done.returncode == 3
    assert "127.0.0.1:1" in lines_of(done.stderr)[-1]["message"]
    assert "very-secret" not in done.stderr
