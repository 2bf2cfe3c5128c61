"""A post of a supervisor: who holds it, and who follows when that worker process has ended."""

import logging
import random
import signal
import time
from dataclasses import dataclass

import click

from contextvqa.errors import (
    BUG,
    INTERRUPTED,
    NoServerError,
    RestartError,
    SinkError,
    UnavailableError,
    UsageError,
)
from contextvqa.processes.children import ending
from contextvqa.processes.worker_process import WorkerProcess

log = logging.getLogger("contextvqa")

#: Wait before another start, give or take half; doubled after each one that never got ready.
RESTART_WAIT_S = 1.0
#: Doublings of it at most: what is not there may come back after hours.
MAX_DOUBLINGS = 6
#: Worker processes in a row that had a server and never got ready, after which no other is tried.
MAX_FAILED_STARTS = 5
#: Seconds after which a worker process that wants to be restarted is no longer a quick failure.
RECYCLE_S = 60.0

#: Exit codes for want of what may come back.
OUTAGES = {UnavailableError.exit_code, NoServerError.exit_code}
#: Exit codes after which another worker process would end the same way, or nobody wants one.
FINAL = {0, UsageError.exit_code, SinkError.exit_code, INTERRUPTED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a worker process may take, in seconds."""

    #: From one pulse to the next.
    stall_s: float
    #: From being asked to stop until it has ended.
    stop_s: float


class Post:
    """What one worker process after another holds, each on the same GPUs or cores."""

    def __init__(self, name: str, patience: Patience) -> None:
        self.name = name
        self.process: WorkerProcess | None = None
        #: Whether no other worker process will hold it.
        self.is_over = False
        self._patience = patience
        #: When to start a worker process while there is none.
        self._start_at = time.monotonic()
        #: Worker processes in a row that never got ready, and of these those that had a server.
        self._num_vain_starts = 0
        self._num_failed_starts = 0
        #: Of its worker processes that have ended: whether one was ready, and the last's exit code.
        self._was_ever_ready = False
        self._last_code: int | None = None
        #: When a worker process that was asked to stop is killed.
        self._stop_by: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a worker process is there that may have claimed jobs."""
        return self.process is not None and self.process.is_ready

    @property
    def found_nothing_to_begin_with(self) -> bool:
        """Whether its worker processes lack a server or a model, and none has ever had them."""
        was_ready = self._was_ever_ready or self.is_ready
        return self._last_code in OUTAGES and not was_ready

    def due_in_s(self) -> float:
        """Return the seconds until a worker process has to be started; infinite while there is one."""
        if self.is_over or self.process is not None:
            return float("inf")
        return max(0.0, self._start_at - time.monotonic())

    def look_after(self) -> tuple[WorkerProcess, int] | None:
        """Kill a worker process that is stuck. Return one that has ended, once, with its code."""
        process = self.process
        if process is None:
            return None
        code = process.poll()
        if code is not None:
            self.process = None
            self._last_code = code
            self._count_start(code, is_ready=process.is_ready)
            return process, code
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            log.warning("supervisor: %s does not stop; killing it", process)
            process.send(signal.SIGKILL)
        elif process.is_ready and process.silence_s > self._patience.stall_s:
            log.warning(
                "supervisor: %s is stuck, without a pulse for %.0f s; killing it",
                process,
                process.silence_s,
            )
            process.send(signal.SIGKILL)
        return None

    def _count_start(self, code: int, *, is_ready: bool) -> None:
        if is_ready:
            self._was_ever_ready = True
            self._num_vain_starts = self._num_failed_starts = 0
        else:
            self._num_vain_starts += 1
            self._num_failed_starts += code != NoServerError.exit_code

    def stop(self) -> None:
        """Let its worker process drain, or hand back at once when asked again; have no other."""
        if self.process is not None and self.process.is_ready:
            self.process.send(signal.SIGTERM)
            self._stop_by = self._stop_by or time.monotonic() + self._patience.stop_s
        else:
            self.abandon()

    def abandon(self) -> None:
        """Kill its worker process, which may have claimed nothing yet; have no other."""
        self.is_over = True
        if self.process is not None:
            self.process.kill()
            self.process = None

    def follow_up(self, process: WorkerProcess, code: int) -> Exception | None:
        """
        Decide what follows its worker process, which has ended with this code.

        Returns:
            None for another one, which is due after a wait; otherwise how the post ends.

        """
        if code in FINAL:
            return click.exceptions.Exit(code)
        what = f"{process} {ending(code)} after {process.lived_s:.0f} s"
        if self._stop_by is not None:
            return UnavailableError(f"{what}, while it was to stop; others take over its records.")
        # Redis is waited for, and so are a model's files that were there once. A crash is no outage.
        is_outage = code in OUTAGES and (self._was_ever_ready or code == NoServerError.exit_code)
        if not is_outage and self._num_failed_starts >= MAX_FAILED_STARTS:
            return _given_up(what, code)
        wait_s = restart_wait_s(
            code=code, ready_s=process.ready_s, num_vain_starts=self._num_vain_starts
        )
        log.warning("supervisor: %s; starting another in %.1f s", what, wait_s)
        self._start_at = time.monotonic() + wait_s
        return None


def restart_wait_s(*, code: int, ready_s: float, num_vain_starts: int) -> float:
    """
    Return the wait before another worker process is started, in seconds.

    Args:
        code: The exit code of the last one.
        ready_s: How long that one had been ready.
        num_vain_starts: Worker processes in a row that never got ready.

    """
    if code == RestartError.exit_code and ready_s >= RECYCLE_S:
        return 0.0  # it wanted to be started anew, and has worked till then
    doublings = min(max(0, num_vain_starts - 1), MAX_DOUBLINGS)
    return RESTART_WAIT_S * (1 << doublings) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


def _given_up(what: str, code: int) -> Exception:
    message = f"{MAX_FAILED_STARTS} worker processes in a row never got ready; the last: {what}."
    if code == BUG:
        log.error("supervisor: %s", message)
        return click.exceptions.Exit(BUG)
    return UnavailableError(message)
