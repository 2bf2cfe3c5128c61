"""The steps of a start-up, told apart by what a program says."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import Program
from benchmarks.startup import LOADED, STEPS, follow
from contextvqa.errors import UnavailableError

WORDS = [words for *_, words in STEPS]


def speaker(words: list[str], log: Path, *, stays: bool = True) -> Program:
    code = f"import time; print(*{words!r}, sep='\\n', flush=True); time.sleep({3600 * stays})"
    return Program("worker", [sys.executable, "-c", code], {}, log)


def test_every_step_up_to_the_last_gets_its_time(tmp_path: Path) -> None:
    began = time.monotonic()

    with speaker(WORDS, tmp_path / "log") as program:
        steps = follow(tmp_path / "log", program, began, until=LOADED)

    assert list(steps) == ["own_s", "imports_s", "core_s", "model_s", "loaded_s"]
    assert 0 < sum(steps.values()) <= time.monotonic() - began


def test_a_program_that_ends_before_a_step_is_a_failure(tmp_path: Path) -> None:
    with (
        speaker(WORDS[:2], tmp_path / "log", stays=False) as program,
        pytest.raises(UnavailableError, match="worker ended with 0"),
    ):
        follow(tmp_path / "log", program, time.monotonic(), until=LOADED)
