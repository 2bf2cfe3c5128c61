"""The promise of `--log-format json`: each line of a worker with a real engine is JSON."""

import os
import signal
import subprocess
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from contextvqa.cli import main
from tests.support import (
    FLAGS,
    clean_environment,
    contextvqa,
    read_lines,
    run_contextvqa,
    wait_until,
)

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]


def messages(log: Path) -> list[str]:
    """Return the messages of whole lines; fails for a line that is no JSON."""
    lines = log.read_bytes().rpartition(b"\n")[0].splitlines()
    return [orjson.loads(line)["message"] for line in lines]


def test_every_line_is_json_while_an_engine_starts_works_is_killed_and_stops(
    redis_url: str, runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a worker with a real engine, under its supervisor
    places = ["--redis-url", redis_url, "--runs-dir", str(runs_dir)]
    log, source = tmp_path / "log", tmp_path / "in.json"
    rows = orjson.loads((FLAGS / "sample_data.json").read_bytes())
    source.write_bytes(orjson.dumps([*rows, {"image": "missing.png"}]))
    with (
        log.open("wb") as file,
        subprocess.Popen(
            contextvqa(
                *("worker", "--model", FLAGS / "model", "--image-root", FLAGS),
                *("--redis-url", redis_url, "--log-format", "json", "--max-in-flight", 8),
            ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=clean_environment(),
        ) as worker,
        subprocess.Popen(
            contextvqa("refiner", *places), stderr=subprocess.DEVNULL, env=clean_environment()
        ) as refiner,
    ):
        try:
            wait_until(lambda: any("ready: " in said for said in messages(log)), 600)
            run = ("--run", "r", "--model", FLAGS / "model", *places)
            assert run_contextvqa("enqueue", source, *run).returncode == 0
            # When it is killed while it works
            results = runs_dir / "r" / "results.jsonl"
            wait_until(lambda: results.exists() and read_lines(results))
            (first,) = {
                child.pid
                for child in psutil.Process(worker.pid).children()
                if os.getsid(child.pid) == child.pid
            }
            os.kill(first, signal.SIGKILL)
            done = run_contextvqa("wait", "r", "--timeout-s", 600, *places)
            assert done.returncode == 0, log.read_text()
        finally:
            worker.terminate()
            refiner.terminate()

    # Then each line is JSON, whoever wrote it
    lines: list[dict[str, Any]] = [orjson.loads(line) for line in log.read_text().splitlines()]
    assert worker.returncode == 0
    assert any(f"worker process {first} was killed by SIGKILL" in said for said in messages(log))
    loggers = {line["logger"].partition(".")[0] for line in lines}
    assert {"contextvqa", "vllm"} <= loggers
    engines = {line["pid"] for line in lines if line["logger"] == "vllm.v1.engine.core"}
    assert len(engines) == 2
    # and says what it is about
    (rejected,) = [line for line in lines if line["message"].startswith("rejected: ")]
    assert (rejected["run"], rejected["stage"]) == ("r", "generate")
    (reject,) = read_lines(runs_dir / "r" / "rejects.jsonl")
    assert rejected["key"] == reject["meta"]["key"]
    assert {line["stage"] for line in lines if line["logger"] == "vllm.v1.engine.core"} == {
        "generate"
    }
    # Each record can be traced, those that were in flight at the kill too
    for line in read_lines(results):
        assert main(["trace", "r", line["meta"]["key"], "--json", *places]) == 0
        events = orjson.loads(capsys.readouterr().out)["events"]
        times = [datetime.fromisoformat(e["time"]).timestamp() for e in events if e["time"]]
        assert [event["event"] for event in events][-2:] == ["accepted", "settled"]
        # But for milliseconds of rounding.
        assert all(later - earlier > -0.01 for earlier, later in pairwise(times))
