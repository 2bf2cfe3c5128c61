"""The feed benchmark with the real engine, at its smallest."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.support import clean_environment

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


def test_a_bare_engine_and_a_whole_run_write_every_text(tmp_path: Path) -> None:
    only = ("--only", "async_llm", "--only", "contextvqa")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.feed", "--rounds=1", "--scale=0.01", "--json", *only],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for row in orjson.loads(done.stdout)["rows"]:
        figures = {figure["metric"]: figure["median"] for figure in row["figures"]}
        assert figures.keys() == {"records_per_s", "peak_memory_mb", "load_s"}
        assert figures["load_s"] > 0
        assert 500 < figures["peak_memory_mb"] < 10_000
