"""Who is dead."""

import os
import subprocess
import sys

from contextvqa.queueing.reaper import host_identity, is_running


def test_a_process_runs_until_it_has_ended_and_a_zombie_does_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_running(process.pid)
        process.kill()
        # Ended and not waited for: a zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(process.pid)
    assert not is_running(process.pid)


def test_a_host_is_named_the_same_in_all_its_processes() -> None:
    script = "from contextvqa.queueing.reaper import host_identity; print(host_identity())"
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert other.stdout.strip() == host_identity()
