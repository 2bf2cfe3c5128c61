"""`contextvqa wait`: return when a run is complete."""

import time
from functools import partial

import click

from contextvqa.errors import IncompleteError
from contextvqa.options import takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.queueing.connection import connect
from contextvqa.queueing.patience import persist
from contextvqa.queueing.roles import Role
from contextvqa.settings import Rejects, Store
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching.completion import check_rejects, summarize
from contextvqa.watching.run_progress import RunProgress
from contextvqa.watching.state import RunState, RunWatcher

#: Seconds between looks at the run.
LOOK_INTERVAL_S = 0.5
#: Seconds without any job, but with records pending, after which their jobs must be lost. Those
#: that a dead worker had just taken are back in their queue sooner, if any worker lives.
LOST_AFTER_S = 30.0


@click.command()
@click.argument("name")
@click.option(
    "--timeout-s", type=click.FloatRange(min=0), help="Seconds to wait at most. Default: no limit."
)
@takes(Store, Rejects)
def command(*, name: str, timeout_s: float | None, store: Store, rejects: Rejects) -> None:
    """
    Return when run NAME is complete: records have ended, and none is pending.

    Exit code 5 when it is paused, when its jobs are lost, or after --timeout-s. Records that nobody
    has enqueued yet are unknown to it: `contextvqa audit NAME --input INPUT` proves that there are
    none.
    """
    directory = RunDirectory(store.runs_dir, name)
    directory.check_exists()
    watcher = RunWatcher(
        directory, connect(url_of_run(store.server_url, directory.redis_path, Role.WATCHER))
    )
    began = time.monotonic()
    state = _wait(watcher, None if timeout_s is None else began + timeout_s)
    summarize(watcher, state, time.monotonic() - began)
    click.echo(directory.results_path)
    check_rejects(watcher, state, rejects)


def _wait(watcher: RunWatcher, deadline: float | None) -> RunState:
    """Return the state of the complete run, or raise IncompleteError where it does not come."""
    busy_at = time.monotonic()
    with RunProgress() as progress:
        while True:
            state = persist(watcher.look, wait=partial(_sleep_until, deadline))
            progress.show(state)
            if state.paused:
                raise IncompleteError(state.paused.advise(state.run))
            if not state.pending and state.ended:
                return state
            now = time.monotonic()
            if not state.pending or not state.is_idle:
                busy_at = now
            if now - busy_at > LOST_AFTER_S:
                raise IncompleteError(
                    f"{state.pending} records of run {state.run!r} are pending, and no queue holds "
                    f"a job; `contextvqa enqueue INPUT --run {state.run}` re-creates them."
                )
            if deadline is not None and now >= deadline:
                raise IncompleteError(
                    f"run {state.run!r} is not complete: {state.ended} records have ended, "
                    f"{state.pending} are pending; wait longer, or see `contextvqa status "
                    f"{state.run}`."
                )
            time.sleep(LOOK_INTERVAL_S)


def _sleep_until(deadline: float | None, wait_s: float) -> bool:
    """Wait for a server that is away; return whether no time is left for another try."""
    time.sleep(wait_s)
    return deadline is not None and time.monotonic() >= deadline
