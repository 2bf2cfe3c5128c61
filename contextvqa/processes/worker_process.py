"""A worker process, forked off its supervisor: what each of the two holds of the other."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType

from contextvqa.processes.sessions import MARKER, kill_session

#: Says that the worker process is ready, and then that it still is. Never blocks, never raises.
Pulse = Callable[[], None]

STDIN = 0


class SignalQueue:
    """
    The signals of a process in the order they came, to be waited for with other descriptors.

    None is lost between a look and a wait, as it would be with a flag and a sleep.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {signum: signal.signal(signum, _do_nothing) for signum in self.SIGNALS}

    def take(self) -> list[int]:
        """Return the signals that came since the last call."""
        with contextlib.suppress(BlockingIOError):
            return list(os.read(self.reader, 4096))
        return []

    def close(self) -> None:
        """Give the signals back to whoever had them before."""
        signal.set_wakeup_fd(-1)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        os.close(self.reader)
        os.close(self._writer)


class WorkerProcess:
    """A worker process as its supervisor sees it."""

    def __init__(self, name: str, pid: int, lifeline: int, pulses: int) -> None:
        self.name = name
        self.pid = pid
        #: Seconds since the last pulse that the supervisor was awake for.
        self.silence_s = 0.0
        self._began = time.monotonic()
        self._ready_at: float | None = None
        #: Descriptors to close with it: its pulses, and the other end of its standard input.
        self.pulses = pulses
        self._lifeline = lifeline

    def __str__(self) -> str:
        return f"worker process {self.pid}" + (f" on {self.name}" if self.name else "")

    @property
    def descriptors(self) -> tuple[int, int]:
        """What its supervisor holds of it: no other process may, or it would outlive both."""
        return self.pulses, self._lifeline

    @property
    def is_ready(self) -> bool:
        """Whether it has registered, and may have claimed jobs."""
        return self._ready_at is not None

    @property
    def ready_s(self) -> float:
        """Seconds since the first pulse; 0 before it."""
        return 0.0 if self._ready_at is None else time.monotonic() - self._ready_at

    @property
    def lived_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._began

    def take_pulses(self, elapsed_s: float) -> None:
        """Note whether it has pulsed in the seconds since the last call."""
        self.silence_s += elapsed_s
        with contextlib.suppress(BlockingIOError):
            if os.read(self.pulses, 4096):
                self.silence_s = 0.0
                self._ready_at = self._ready_at or time.monotonic()

    def send(self, signum: int) -> None:
        """Send it, and not its engine, a signal."""
        os.kill(self.pid, signum)

    def kill(self) -> None:
        """Kill it and all that its engine started."""
        self.send(signal.SIGKILL)  # it may have been about to lead its session
        kill_session(self.pid)

    def poll(self) -> int | None:
        """
        Return None while it runs, then once its exit code, negative for a signal.

        By then nothing that its engine started is left, and it must not be used any more.
        """
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.take_pulses(0.0)
        kill_session(self.pid)
        # Where the supervisor is its container's init, it has inherited what was just killed.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        for descriptor in self.descriptors:
            os.close(descriptor)
        return os.waitstatus_to_exitcode(status)


def fork(
    name: str, signals: SignalQueue, others: Iterable[WorkerProcess] = ()
) -> WorkerProcess | Pulse:
    """
    Start a worker process as a fork of this one.

    It leads a session of its own, so that a terminal's Ctrl-C does not reach it and its engine's
    processes can be found. Its standard input closes when this process dies, however that happens.

    Args:
        name: What it runs on, for messages.
        signals: Of this process.
        others: All other worker processes of this process.

    Returns:
        Here the worker process. In the worker process its pulse.

    """
    lifeline, pulses = os.pipe(), os.pipe()
    for end in pulses:
        os.set_blocking(end, False)
    # A signal must find either the supervisor or a worker process, and nothing in between.
    signal.pthread_sigmask(signal.SIG_BLOCK, SignalQueue.SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            signals.close()
            theirs = [descriptor for other in others for descriptor in other.descriptors]
            _lead_session(stdin=lifeline[0], not_ours=[lifeline[1], pulses[0], *theirs])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SignalQueue.SIGNALS)
    if pid == 0:
        return lambda: _pulse(pulses[1])
    os.close(lifeline[0])
    os.close(pulses[1])
    return WorkerProcess(name, pid, lifeline[1], pulses[0])


def _lead_session(*, stdin: int, not_ours: Sequence[int]) -> None:
    os.setsid()
    for descriptor in not_ours:
        os.close(descriptor)
    os.dup2(stdin, STDIN)
    os.close(stdin)
    os.environ[MARKER] = "1"
    # Until the daemon drains on SIGTERM nothing is claimed, and a half-started engine stops late.
    signal.signal(signal.SIGTERM, _kill_own_group)


def _pulse(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # full, or nobody reads it any more
        os.write(descriptor, b".")


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """Let a signal pass to the queue and nowhere else."""


def _kill_own_group(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os.killpg(0, signal.SIGKILL)
