"""
The supervisor of a worker process: starts it, watches it, and starts another when it has ended.

An engine that died or hangs takes its process along: only a new one can be trusted. The supervisor
loads no engine and talks to no server, so that nothing of that can take it down as well.
"""

import logging
import os
import random
import select
import signal
import time
from dataclasses import dataclass

import click

from contextvqa.children import ending
from contextvqa.errors import RestartError, SinkError, UnavailableError, UsageError
from contextvqa.sessions import kill_orphans
from contextvqa.worker_process import STDIN, Pulse, SignalQueue, WorkerProcess, fork

log = logging.getLogger("contextvqa")

#: Seconds between looks, when nothing wakes the supervisor before.
LOOK_INTERVAL_S = 1.0
#: Least silence that counts as stuck, in seconds: pulses come every 3 s, on a busy machine later.
MIN_STALL_S = 15.0
#: Beyond the drain timeout, seconds that a worker process gets to settle and to end its engine.
STOP_MARGIN_S = 15.0
#: Wait before another start, give or take half; doubled after each one that never got ready.
RESTART_WAIT_S = 1.0
#: Doublings of it at most: what is not there may come back after hours.
MAX_DOUBLINGS = 6
#: Worker processes in a row that never got ready, after which no other is tried.
MAX_FAILED_STARTS = 5
#: Seconds after which a worker process that wants to be restarted is no longer a quick failure.
RECYCLE_S = 60.0

BUG = 1
INTERRUPTED = 130
#: Exit codes after which another worker process would end the same way, or nobody wants one.
FINAL = {0, UsageError.exit_code, SinkError.exit_code, INTERRUPTED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a worker process may take, in seconds."""

    #: From one pulse to the next.
    stall_s: float
    #: From being asked to stop until it has ended.
    stop_s: float


def supervise(*, stall_timeout_s: float, drain_timeout_s: float, until_stdin_closes: bool) -> Pulse:
    """
    Keep a worker process running. Returns in each worker process, never in the supervisor.

    A worker process goes on with the caller's work. Its standard input closes when the supervisor
    dies, on which it has to stop.

    Args:
        stall_timeout_s: Silence of a worker process that was ready after which it is killed.
        drain_timeout_s: What the worker process itself allows for its drain.
        until_stdin_closes: End, as on SIGTERM, when this process's standard input closes.

    Returns:
        The pulse: the worker process has to call it when it is ready, and every 3 s from then on.

    Raises:
        click.exceptions.Exit: The supervisor has to end, with this exit code.
        UnavailableError: No worker process gets ready, or one had to be killed to stop it.

    """
    patience = Patience(
        stall_s=max(stall_timeout_s, MIN_STALL_S), stop_s=drain_timeout_s + STOP_MARGIN_S
    )
    return _Supervisor(patience, until_stdin_closes=until_stdin_closes).run()


class _Supervisor:
    def __init__(self, patience: Patience, *, until_stdin_closes: bool) -> None:
        self._patience = patience
        self._stdin = [STDIN] if until_stdin_closes else []
        self._signals = SignalQueue()
        self._process: WorkerProcess | None = None
        #: When to start a worker process while there is none.
        self._start_at = time.monotonic()
        self._num_failed_starts = 0
        self._was_ever_ready = False
        #: When a worker process that was asked to stop is killed.
        self._stop_by: float | None = None

    def run(self) -> Pulse:
        """Return in a worker process; raise when the supervisor has to end."""
        while True:
            if self._process is None and time.monotonic() >= self._start_at:
                kill_orphans()
                started = fork(self._signals)
                if not isinstance(started, WorkerProcess):
                    return started
                self._process = started
            stop_signals = self._wait()
            if self._process is not None:
                self._look_after(self._process)
            for signum in stop_signals:
                self._stop(signum)

    def _wait(self) -> list[int]:
        """Sleep until something happens, for a second at most; return the signals to stop."""
        began = time.monotonic()
        descriptors = [self._signals.reader, *self._stdin]
        timeout_s = LOOK_INTERVAL_S
        if self._process is None:
            timeout_s = min(timeout_s, max(0.0, self._start_at - began))
        else:
            descriptors.append(self._process.pulses)
        readable, _, _ = select.select(descriptors, [], [], timeout_s)
        if self._process is not None:
            # Longer only when we were frozen ourselves, and the worker process with us.
            elapsed_s = min(time.monotonic() - began, 2 * LOOK_INTERVAL_S)
            self._process.take_pulses(elapsed_s)
        stop_signals = [signum for signum in self._signals.take() if signum != signal.SIGCHLD]
        if STDIN in readable and not os.read(STDIN, 4096):
            self._stdin = []
            stop_signals.append(signal.SIGTERM)
        return stop_signals

    def _look_after(self, process: WorkerProcess) -> None:
        code = process.poll()
        if code is not None:
            self._process = None
            self._was_ever_ready |= process.is_ready
            self._follow_up(process, code)
        elif self._stop_by is not None and time.monotonic() > self._stop_by:
            log.warning("supervisor: worker process %d does not stop; killing it", process.pid)
            process.send(signal.SIGKILL)
        elif process.is_ready and process.silence_s > self._patience.stall_s:
            log.warning(
                "supervisor: worker process %d is stuck, without a pulse for %.0f s; killing it",
                process.pid,
                process.silence_s,
            )
            process.send(signal.SIGKILL)

    def _stop(self, signum: int) -> None:
        """Pass on that we are to stop; end at once if nothing can be in flight."""
        name = signal.Signals(signum).name
        if self._process is None or not self._process.is_ready:
            log.info("supervisor: %s, nothing in flight", name)
            if self._process is not None:
                self._process.kill()
            raise click.exceptions.Exit(INTERRUPTED if signum == signal.SIGINT else 0)
        log.info("supervisor: %s, stopping worker process %d", name, self._process.pid)
        self._process.send(signal.SIGTERM)
        self._stop_by = self._stop_by or time.monotonic() + self._patience.stop_s

    def _follow_up(self, process: WorkerProcess, code: int) -> None:
        """Decide what follows a worker process that has ended: another one, or our own end."""
        what = f"worker process {process.pid} {ending(code)} after {process.lived_s:.0f} s"
        is_first_failure = code == UnavailableError.exit_code and not self._was_ever_ready
        if code in FINAL or is_first_failure:
            raise click.exceptions.Exit(code)
        if self._stop_by is not None:
            raise UnavailableError(f"{what}, while it was to stop; others take over its records.")
        self._num_failed_starts = 0 if process.is_ready else self._num_failed_starts + 1
        # What was there once, Redis or the model's files, is waited for. A crash is no outage.
        is_crash = code != UnavailableError.exit_code
        if is_crash and self._num_failed_starts >= MAX_FAILED_STARTS:
            _give_up(what, code)
        wait_s = restart_wait_s(
            code=code, ready_s=process.ready_s, num_failed_starts=self._num_failed_starts
        )
        log.warning("supervisor: %s; starting another in %.1f s", what, wait_s)
        self._start_at = time.monotonic() + wait_s


def restart_wait_s(*, code: int, ready_s: float, num_failed_starts: int) -> float:
    """
    Return the wait before another worker process is started, in seconds.

    Args:
        code: The exit code of the last one.
        ready_s: How long that one had been ready.
        num_failed_starts: Worker processes in a row that never got ready.

    """
    if code == RestartError.exit_code and ready_s >= RECYCLE_S:
        return 0.0  # it wanted to be started anew, and has worked till then
    doublings = min(max(0, num_failed_starts - 1), MAX_DOUBLINGS)
    return RESTART_WAIT_S * (1 << doublings) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


def _give_up(what: str, code: int) -> None:
    message = f"{MAX_FAILED_STARTS} worker processes in a row never got ready; the last: {what}."
    if code == BUG:
        log.error("supervisor: %s", message)
        raise click.exceptions.Exit(BUG)
    raise UnavailableError(message)
