"""One run on this machine: its processes, started, watched to the end and stopped in order."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import click
import orjson
import redis

from contextvqa.errors import BUG, IncompleteError, UnavailableError, UsageError
from contextvqa.processes.children import Child, ending
from contextvqa.progress import say
from contextvqa.queueing.pauses import resume
from contextvqa.watching.run_progress import RunProgress
from contextvqa.watching.state import RunState, RunWatcher

#: Seconds between looks at the run.
LOOK_INTERVAL_S = 0.2
#: Seconds for which the queues must look empty before records still pending are taken for lost:
#: a job on its way from one place to the next may be missed by a single look.
IDLE_S = 3.0
#: Times that an input is enqueued again in one run before it is given up.
MAX_PASSES = 3
#: Beyond the drain timeout, seconds that a child gets to close its engine and files: more than
#: the worker's supervisor gives its own.
STOP_MARGIN_S = 20.0

#: What the exit code of a daemon that ended by itself makes of the run.
ENDINGS = {kind.exit_code: kind for kind in (UsageError, UnavailableError)}


class CommandLine(NamedTuple):
    """One `contextvqa` command."""

    arguments: list[str]
    #: What `ps` must not show.
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """What a run consists of."""

    #: With `--json`.
    enqueue: CommandLine
    #: Whether the input can be read again, which a pipe cannot.
    is_input_lasting: bool
    worker: CommandLine
    refiner: CommandLine


class LocalRun:
    """One run on this machine: an enqueue, a worker and a refiner process, watched to the end."""

    def __init__(self, watcher: RunWatcher, commands: Commands, *, drain_timeout_s: float) -> None:
        self.watcher = watcher
        self.stop_timeout_s = drain_timeout_s + STOP_MARGIN_S
        self.num_bad_rows = 0
        self._commands = commands
        #: All processes in the order of their start, and of these the worker and the refiner.
        self._children: list[Child] = []
        self._daemons: list[Child] = []

    def complete(self) -> RunState:
        """
        Return when every record of the input has ended.

        Nothing pending is no proof of that, if Redis lost its data on the way. So the input is
        enqueued again until nothing of it is missing. The worker, which loads a model, is only
        started for work.

        Raises:
            UsageError: The input cannot be read at all.
            UnavailableError: Redis, the model or the engine cannot be had.
            IncompleteError: A process ended before its time.
            KeyboardInterrupt: Ctrl-C; everything is stopped and ready to be resumed.

        """
        with _deferred_interrupts() as interrupted:
            try:
                return self._complete(interrupted)
            except redis.RedisError as error:
                raise UnavailableError(f"the Redis server went away: {error}") from error
            finally:
                self._stop_all()

    def _complete(self, interrupted: threading.Event) -> RunState:
        connection = self.watcher.connection
        if connection is not None and resume(connection, self.watcher.directory.run):
            say("going on with the paused run")
        with RunProgress() as progress:
            state, counts = self._work_off(progress, interrupted, is_again=False)
            self.num_bad_rows = counts["bad"]
            for _ in range(MAX_PASSES):
                is_again = self._commands.is_input_lasting and counts["enqueued"] + counts["live"]
                if not is_again and not state.pending:
                    return state
                if not is_again:
                    break
                state, counts = self._work_off(progress, interrupted, is_again=True)
            if not counts["enqueued"] and not state.pending:
                return state
        raise IncompleteError(
            f"{counts['enqueued'] or state.pending} records lose their jobs again and again; "
            f"see rq's failed jobs, and contextvqa audit {state.run}."
        )

    def _work_off(
        self, progress: RunProgress, interrupted: threading.Event, *, is_again: bool
    ) -> tuple[RunState, dict[str, int]]:
        """Enqueue what is missing and watch until nothing is pending; return enqueue's counts."""
        enqueue = self._start(self._commands.enqueue, is_quiet=is_again)
        busy_at = time.monotonic()
        while True:
            counts = self._counts(enqueue)
            state = self.watcher.look()
            progress.show(state)
            if state.paused:
                why = state.paused.describe(state.run)
                raise IncompleteError(f"{why}; mend that, and give the same command again.")
            if not state.is_idle:
                busy_at = time.monotonic()
            # Idle with records pending: somebody removed their jobs; they are enqueued again.
            is_stuck = time.monotonic() - busy_at > IDLE_S
            if counts is not None and (not state.pending or is_stuck):
                return state, counts
            if state.pending and not self._daemons:
                self._start_daemons()
            self._check_daemons()
            if interrupted.wait(LOOK_INTERVAL_S):
                raise KeyboardInterrupt

    def _start(
        self, command: CommandLine, log_path: Path | None = None, *, is_quiet: bool = False
    ) -> Child:
        self._children.append(Child(*command, log_path, is_quiet=is_quiet))
        return self._children[-1]

    def _start_daemons(self) -> None:
        logs = self.watcher.directory.logs_path
        say(f"starting the worker: loading its model (log: {logs / 'worker.log'})")
        # The refiner first: it can still write what the worker finishes while it stops.
        self._daemons = [
            self._start(self._commands.refiner, logs / "refiner.log"),
            self._start(self._commands.worker, logs / "worker.log"),
        ]

    def _check_daemons(self) -> None:
        for child in self._daemons:
            code = child.poll()
            if code is not None:
                raise ENDINGS.get(code, IncompleteError)(child.error())

    def _stop_all(self) -> None:
        """Stop in order, the last started first; a second Ctrl-C kills what is left."""
        try:
            for child in reversed(self._children):
                child.stop(self.stop_timeout_s)
        finally:
            for child in self._children:
                child.kill()

    def _counts(self, enqueue: Child) -> dict[str, int] | None:
        """Return what enqueue counted, None while it runs."""
        code = enqueue.poll()
        if code is None:
            return None
        output = enqueue.output()
        if enqueue in self._children:
            # Its process id may soon be another's.
            self._children.remove(enqueue)
        if output:
            counts: dict[str, int] = orjson.loads(output)
            return counts
        if code <= 0 or code == BUG:
            raise IncompleteError(f"the enqueue {ending(code)} before the end of the input")
        # It has said why.
        raise click.exceptions.Exit(code)


@contextmanager
def _deferred_interrupts() -> Iterator[threading.Event]:
    """Give the first Ctrl-C or SIGTERM as an event, so that it never hits a half-started child."""
    interrupted = threading.Event()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            signal.default_int_handler(signum, frame)
        interrupted.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(signum, on_signal) for signum in signals]
    try:
        yield interrupted
    finally:
        for signum, handler in zip(signals, before, strict=True):
            signal.signal(signum, handler)
