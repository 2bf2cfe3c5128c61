"""Programs under measurement: their CPU time, their failures, and that none stays."""

import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import Program
from contextvqa.errors import UnavailableError
from tests.support import wait_until

PARENT = """
import subprocess, sys
burn = "for _ in range(10**7): pass"
subprocess.run([sys.executable, "-c", burn])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(child.pid, flush=True)
child.wait()
"""


def program(code: str, log: Path) -> Program:
    return Program("generate", [sys.executable, "-c", code], {}, log)


def has_ended(pid: int) -> bool:
    """Whether it runs no more; init may be slow to take note of it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_cpu_time_holds_that_of_ended_children_and_none_outlives_the_measurement(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"

    with program(PARENT, log) as parent:
        wait_until(lambda: log.read_text().endswith("\n"))
        cpu_s = parent.cpu_s()

    assert cpu_s > 0.1
    wait_until(lambda: has_ended(int(log.read_text())))


def test_a_program_that_ends_says_why_in_one_line(tmp_path: Path) -> None:
    with (
        program("raise SystemExit('warning\\nno broker')", tmp_path / "log") as broken,
        pytest.raises(UnavailableError, match=r"generate ended with 1: no broker \(see .*log\)"),
    ):
        broken.wait()
