"""
Real processes that cost ten milliseconds: forked from this one, with everything imported already.

A child gets a session of its own, a log file for its output, no signal handlers and no loggers of
pytest, and ends without running anybody's exit handlers. It must make its own connections.
"""

import faulthandler
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from contextvqa.processes.sessions import kill_session, sessions_below

#: Longest that a child may take to end on its own, in seconds: then the test fails.
PATIENCE_S = 120.0
#: Standard input of every child. It ends when we are gone, and so do they.
LIFELINE = os.pipe()
#: Between two looks at a child, in seconds.
POLL_S = 0.002

Patch = Callable[[], object]


class Child:
    """One forked process."""

    def __init__(self, name: str, pid: int, log: Path) -> None:
        self.name = name
        self.pid = pid
        self.log = log
        self._status: int | None = None

    @property
    def kind(self) -> str:
        """Which command it runs."""
        return self.name.split()[0]

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.poll() is None

    def is_stopped(self) -> bool:
        """Whether it sleeps after SIGSTOP."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Return the exit code when it has ended."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"{self.name} does not end:\n{self.words()}"
            time.sleep(POLL_S)
        return code

    def send(self, signum: int) -> None:
        """Send a signal unless it has ended."""
        if self.is_alive():
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """End it at once, and its children with it."""
        if self.is_alive():
            sessions = sessions_below(self.pid)
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            for session in sessions - {self.pid}:
                kill_session(session)

    def words(self) -> str:
        """Return the end of what it said."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""


def fork(name: str, run: Callable[[], int], log: Path, patches: Iterable[Patch] = ()) -> Child:
    """Start a process that applies the patches, runs, and ends with the code that `run` returns."""
    ready, told = os.pipe()
    with warnings.catch_warnings():
        # Python warns that a thread may hold a lock here; the child uses none of our threads'.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(ready)
        _become_child(told, run, log, patches)
    os.close(told)
    os.read(ready, 1)  # returns when the child leads its own process group, or is dead
    os.close(ready)
    return Child(name, pid, log)


def _become_child(told: int, run: Callable[[], int], log: Path, patches: Iterable[Patch]) -> None:
    code = 1
    try:
        os.setsid()
        os.close(told)
        _forget_pytest(log)
        for patch in patches:
            patch()
        code = run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may return into pytest's copy in this process
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _forget_pytest(log: Path) -> None:
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(LIFELINE[1])
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((LIFELINE[0], 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.unraisablehook = sys.__unraisablehook__
    faulthandler.enable(sys.stderr)
    logging.getLogger().handlers[:] = [logging.StreamHandler(sys.stderr)]
