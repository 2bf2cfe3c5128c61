"""The queue benchmark, end to end and tiny."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil

from tests.support import clean_environment


def run_queues(
    directory: Path, *contenders: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    only = [part for name in contenders for part in ("--only", name)]
    options = ["--rounds", "1", "--scale", "0.001", "--json", *only]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.queues", *options],
        cwd=directory,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def figures_of(row: dict[str, Any]) -> dict[str, float]:
    return {figure["metric"]: figure["median"] for figure in row["figures"]}


def test_ours_and_stock_rq_carry_every_record_and_leave_nothing_behind(tmp_path: Path) -> None:
    done = run_queues(tmp_path, "contextvqa", "rq_simple_worker", "server_alone")

    assert done.returncode == 0, done.stderr
    ours, stock, server = map(figures_of, orjson.loads(done.stdout)["rows"])
    assert ours["records_per_s"] > 0
    assert 0 < ours["commands_per_record"] < stock["commands_per_record"]
    assert server.keys() == {"commands_per_s"}
    assert list((tmp_path / "build/benchmarks/queues").iterdir()) == []
    assert processes_of(tmp_path) == []


def test_a_peer_that_cannot_be_installed_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    no_index = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}

    done = run_queues(tmp_path, "celery", "server_alone", **no_index)

    assert done.returncode == 3
    assert "left out: celery: cannot be installed" in done.stderr
    celery, server = orjson.loads(done.stdout)["rows"]
    assert celery["figures"] == []
    assert figures_of(server)["commands_per_s"] > 0


def processes_of(directory: Path) -> list[str]:
    """Return the commands, of the server or of a stage, that still work in this directory."""
    left = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command = " ".join(process.info["cmdline"] or ())
        place = (process.info["environ"] or {}).get("BENCHMARK_DIRECTORY", "")
        if str(directory) in command + place:
            left.append(command)
    return left
