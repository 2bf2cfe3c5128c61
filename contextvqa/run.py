"""`contextvqa run`: the whole pipeline on this machine, from an input to a complete run."""

import fcntl
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click
import orjson

from contextvqa.children import Child
from contextvqa.errors import (
    IncompleteError,
    TooManyRejectsError,
    UnavailableError,
    UsageError,
)
from contextvqa.options import INPUT_FILE, as_flags, takes
from contextvqa.progress import RunProgress, say
from contextvqa.queues import connect
from contextvqa.run_directory import RunDirectory
from contextvqa.server import EmbeddedServer
from contextvqa.settings import Daemon, Engine, Flow, Images, Model, Rejects, Sampling, Store
from contextvqa.state import RunState, RunWatcher

#: Seconds between looks at the run.
LOOK_INTERVAL_S = 0.2
#: Beyond the drain timeout, seconds that a child gets to close its engine and files.
STOP_MARGIN_S = 15.0

#: What the exit code of a daemon that ended by itself makes of the run.
ENDINGS = {kind.exit_code: kind for kind in (UsageError, UnavailableError)}


@click.command()
@click.argument("source", metavar="INPUT", type=INPUT_FILE)
@click.option("--run", "run", required=True, help="Name of the run: a directory in --runs-dir.")
@takes(Store, Model, Sampling, Engine, Images, Flow, Daemon, Rejects)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    source: str,
    run: str,
    store: Store,
    model: Model,
    sampling: Sampling,
    engine: Engine,
    images: Images,
    flow: Flow,
    daemon: Daemon,
    rejects: Rejects,
) -> None:
    """
    Do everything on this machine: queue, one worker, one refiner. The same command resumes.

    Without --redis-url an embedded server runs for as long as the command, with its data in the
    run directory.
    """
    # A supervisor's SIGTERM stops the run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = RunDirectory(store.runs_dir, run)
    began = time.monotonic()
    with ExitStack() as stack:
        directory.create()
        stack.enter_context(_alone(directory))
        if store.redis_url is None:
            say("starting the embedded server")
            server = stack.enter_context(EmbeddedServer(directory.redis_path))
            store = replace(store, redis_url=server.url)
        watcher = RunWatcher(directory, connect(store.redis_url))
        shared = as_flags(store)
        local = LocalRun(
            watcher,
            drain_timeout_s=daemon.drain_timeout_s,
            enqueue=[
                *("enqueue", source, "--run", run, "--json", *shared),
                *(*as_flags(model), *as_flags(sampling), *as_flags(flow)),
            ],
            worker=[
                *("worker", *shared, *as_flags(model), *as_flags(engine)),
                *(*as_flags(images), *as_flags(daemon), "--until-stdin-closes"),
            ],
            refiner=["refiner", *shared, *as_flags(daemon), "--until-stdin-closes"],
        )
        try:
            state = local.complete()
        except KeyboardInterrupt:
            say(f"interrupted; to resume: {shlex.join(['contextvqa', *sys.argv[1:]])}")
            raise
        except (IncompleteError, UnavailableError):
            say(f"to resume: {shlex.join(['contextvqa', *sys.argv[1:]])}")
            raise
    _summarize(watcher, state, time.monotonic() - began)
    click.echo(directory.results_path)
    if local.num_bad_rows:
        raise UsageError(f"{local.num_bad_rows} rows of {source} are bad and were left out.")
    if rejects.is_exceeded(state.rejected, state.ended):
        raise TooManyRejectsError(
            f"{state.rejected} of {state.ended} records were rejected, more than --max-rejects "
            f"{rejects.max_rejects}; see {directory.rejects_path}."
        )


class LocalRun:
    """One run on this machine: an enqueue, a worker and a refiner process, watched to the end."""

    def __init__(
        self,
        watcher: RunWatcher,
        *,
        drain_timeout_s: float,
        enqueue: list[str],
        worker: list[str],
        refiner: list[str],
    ) -> None:
        self.watcher = watcher
        self.stop_timeout_s = drain_timeout_s + STOP_MARGIN_S
        self.num_bad_rows = 0
        self._commands = {"worker": worker, "refiner": refiner}
        self._enqueue_command = enqueue
        #: All processes in the order of their start, and of these the worker and the refiner.
        self._children: list[Child] = []
        self._daemons: list[Child] = []

    def complete(self) -> RunState:
        """
        Enqueue what is missing and return when nothing is pending any more.

        The worker, which loads a model, is only started for work.

        Raises:
            UsageError: The input cannot be read at all.
            IncompleteError: The worker or the refiner ended.
            KeyboardInterrupt: Ctrl-C; everything is stopped and ready to be resumed.

        """
        with _deferred_interrupts() as interrupted:
            try:
                return self._watch(interrupted)
            finally:
                self._stop_all()

    def _watch(self, interrupted: threading.Event) -> RunState:
        enqueue = self._start(self._enqueue_command)
        with RunProgress() as progress:
            while True:
                is_enqueued = enqueue.poll() is not None
                state = self.watcher.look()
                progress.show(state)
                if is_enqueued and not state.pending:
                    break
                if state.pending and not self._daemons:
                    self._start_daemons()
                self._check_daemons()
                if interrupted.wait(LOOK_INTERVAL_S):
                    raise KeyboardInterrupt
        self._read_counts(enqueue)
        return state

    def _start(self, arguments: list[str], log_path: Path | None = None) -> Child:
        self._children.append(Child(arguments, log_path))
        return self._children[-1]

    def _start_daemons(self) -> None:
        logs = self.watcher.directory.logs_path
        say(f"starting the worker: loading its model (log: {logs / 'worker.log'})")
        # The refiner first: it can still write what the worker finishes while it stops.
        self._daemons = [
            self._start(self._commands[name], logs / f"{name}.log")
            for name in ("refiner", "worker")
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

    def _read_counts(self, enqueue: Child) -> None:
        output = enqueue.read_output()
        if not output:
            # It has said why on our stderr.
            raise click.exceptions.Exit(enqueue.poll() or 1)
        self.num_bad_rows = orjson.loads(output)["bad"]


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


@contextmanager
def _alone(directory: RunDirectory) -> Iterator[None]:
    """Refuse a second `run` on the same directory: it would stop the first one's server."""
    descriptor = os.open(directory.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UsageError(
            f"another `contextvqa run` is at work on {directory.path}; wait for it, or stop it."
        ) from error
    finally:
        os.close(descriptor)


def _summarize(watcher: RunWatcher, state: RunState, elapsed_s: float) -> None:
    say(
        f"complete: {state.ended} records, {state.accepted} accepted, {state.rejected} rejected, "
        f"in {elapsed_s:.1f} s"
    )
    for reason, reject in watcher.rejects().items():
        say(f"  {reject.count} x {reason}, as id {reject.example_id}: {reject.message}")
