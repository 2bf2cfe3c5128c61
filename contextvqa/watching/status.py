"""`contextvqa status`: where a run stands."""

import sys
import time
from collections.abc import Sequence

import click
import redis
from rich.console import Console
from rich.live import Live

from contextvqa.errors import UnavailableError, UsageError
from contextvqa.options import takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.progress import ReadProgress, Ticker
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from contextvqa.settings import Store
from contextvqa.storage.run_directory import RunDirectory, runs_in
from contextvqa.watching.rate import RateWindow, recent_rate
from contextvqa.watching.report import Report
from contextvqa.watching.screen import picture
from contextvqa.watching.state import RunWatcher

#: Seconds between two looks with --watch.
WATCH_INTERVAL_S = 2.0


@click.command()
@click.argument("name", required=False)
@click.option(
    "--watch",
    is_flag=True,
    help="Look again every 2 seconds, until Ctrl-C; without a terminal a line every 10 seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run, on stdout.")
@takes(Store)
def command(*, name: str | None, watch: bool, as_json: bool, store: Store) -> None:
    """Show run NAME, or all runs: counts, rate, queues, workers, and how many records came how far."""
    runs = [
        _Watched(store, run, is_needed=bool(name))
        for run in ([name] if name else runs_in(store.runs_dir))
    ]
    if not runs:
        raise UsageError(f"there is no run in {store.runs_dir}; begin one, or name --runs-dir.")
    if not watch:
        for run in runs:
            report = run.report()
            click.echo(report.to_json() if as_json else report.to_text())
    elif as_json:
        _watch_as_json(runs)
    elif sys.stdout.isatty():
        _watch_on_screen(runs)
    else:
        _watch_as_lines(runs)


class _Watched:
    """One run that is looked at, maybe again and again."""

    def __init__(self, store: Store, run: str, *, is_needed: bool) -> None:
        directory = RunDirectory(store.runs_dir, run)
        directory.check_exists()
        self._watcher = RunWatcher(directory, None)
        self._store = store
        self._is_needed = is_needed
        self._window = RateWindow()

    def report(self) -> Report:
        """Return where it stands now."""
        watcher = self._watcher
        watcher.connection = _connection(self._store, watcher.directory, is_needed=self._is_needed)
        state = watcher.look()
        self._window.note(state.ended)
        with ReadProgress(f"counting the lines of {state.run}") as progress:
            funnel = watcher.funnel(progress.show)
        rate = self._window.rate
        if rate is None:
            rate = recent_rate(watcher.directory.results_path)
        return Report(state=state, rate=rate, funnel=funnel)


def _watch_as_json(runs: Sequence[_Watched]) -> None:
    while True:
        for run in runs:
            click.echo(run.report().to_json())
        time.sleep(WATCH_INTERVAL_S)


def _watch_on_screen(runs: Sequence[_Watched]) -> None:
    # Before the first picture, for reading long files may have a bar of its own.
    reports = [run.report() for run in runs]
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(picture(reports), refresh=True)
            time.sleep(WATCH_INTERVAL_S)
            reports = [run.report() for run in runs]


def _watch_as_lines(runs: Sequence[_Watched]) -> None:
    ticker = Ticker(click.echo)
    lines = [run.report().to_line() for run in runs]
    click.echo("\n".join(lines))
    while True:
        time.sleep(WATCH_INTERVAL_S)
        lines = [run.report().to_line() for run in runs]
        ticker.tick("\n".join(lines))


def _connection(store: Store, directory: RunDirectory, *, is_needed: bool) -> redis.Redis | None:
    """Connect to the run's server; None where it need not, or cannot, be asked."""
    try:
        url = url_of_run(store.server_url, directory.redis_path, Role.WATCHER)
    except UnavailableError:
        return None  # an embedded server stops with its run
    try:
        return connect(url)
    except UnavailableError:
        if is_needed:
            raise
        return None
