"""Programs under measurement: their CPU time, their failures, and that none stays."""

import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.lines import Lines
from benchmarks.memory import PeakMemory
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


HOLDER = """
import subprocess, sys
held = b"x" * 30_000_000
hold = "import sys; held = b'x' * 30_000_000; print(1, flush=True); sys.stdin.read()"
with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE) as child:
    child.wait()
"""


def test_peak_memory_is_of_all_processes_and_stays_when_they_are_gone(tmp_path: Path) -> None:
    log = tmp_path / "log"

    with program(HOLDER, log) as parent, PeakMemory(parent.memory_bytes) as memory:
        wait_until(log.read_text)
        wait_until(lambda: memory.mb > 60)
    peak_mb = memory.mb

    assert 60 < peak_mb < 200
    assert parent.memory_bytes() == 0


def test_lines_are_counted_in_all_files_and_an_end_before_the_last_is_a_failure(
    tmp_path: Path,
) -> None:
    write = "open('results', 'w').write('1\\n2\\n'); open('rejects', 'w').write('3\\n')"
    code = f"import os, time; os.chdir({str(tmp_path)!r}); {write}; time.sleep(3600)"

    with program(code, tmp_path / "log") as writer:
        lines = Lines(tmp_path, ("results", "rejects"), (writer,), stall_s=60)
        lines.wait_for(3)
    with pytest.raises(UnavailableError, match="generate was killed by SIGTERM"):
        lines.wait_for(4)


def test_a_program_that_ends_says_why_in_one_line(tmp_path: Path) -> None:
    with (
        program("raise SystemExit('warning\\nno broker')", tmp_path / "log") as broken,
        pytest.raises(UnavailableError, match=r"generate ended with 1: no broker \(see .*log\)"),
    ):
        broken.wait()
