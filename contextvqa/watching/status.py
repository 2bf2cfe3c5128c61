"""`contextvqa status`: where a run stands."""

import time
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import click
import msgspec
import orjson
import redis

from contextvqa.errors import UnavailableError, UsageError, in_lines
from contextvqa.options import takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.progress import ReadProgress
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from contextvqa.settings import Store
from contextvqa.storage.run_directory import RunDirectory, runs_in
from contextvqa.watching.funnel import FunnelState
from contextvqa.watching.funnel_text import table
from contextvqa.watching.state import RunState, RunWatcher

#: Seconds between two looks with --watch.
WATCH_INTERVAL_S = 2.0
#: Bytes at the end of results.jsonl from which the rate is read.
TAIL_BYTES = 1 << 19
#: Seconds without a result after which a run has no rate.
STALE_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is said of one run."""

    state: RunState
    #: Accepted records per second; None for a run at rest.
    rate: float | None
    funnel: FunnelState

    @property
    def eta_s(self) -> int | None:
        """Seconds until the run is complete, where that can be told."""
        return round(self.state.pending / self.rate) if self.state.pending and self.rate else None

    def to_json(self) -> bytes:
        """Return one JSON object."""
        return orjson.dumps(
            {
                **asdict(self.state),
                "rate": self.rate,
                "eta_s": self.eta_s,
                "funnel": msgspec.to_builtins(self.funnel, str_keys=True),
            }
        )

    def to_text(self) -> str:
        """Return it for people."""
        state = self.state
        pending = "unknown (its server is not running)"
        if state.pending is not None:
            pending = str(state.pending)
        counts = f"{state.accepted} accepted, {state.rejected} rejected, pending {pending}"
        lines = [f"run {state.run}: {counts}"]
        if state.paused:
            lines.append(f"  {state.paused.advise(state.run)}")
        if self.rate:
            eta = f", about {self.eta_s} s left" if self.eta_s else ""
            lines.append(f"  {self.rate} records/s{eta}")
        for name, queue in state.queues.items():
            counts = ", ".join(f"{count} {what}" for what, count in asdict(queue).items())
            lines.append(f"  queue {name}: {counts}")
        lines += [
            f"  worker {worker.name}: {worker.state}, {worker.settled} settled"
            for worker in state.workers
        ]
        return in_lines([*lines, *table(self.funnel)])


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run, on stdout.")
@takes(Store)
def command(*, name: str | None, watch: bool, as_json: bool, store: Store) -> None:
    """Show run NAME, or all runs: counts, rate, queues, workers, and how many records came how far."""
    watchers = [_watcher(store, run) for run in ([name] if name else runs_in(store.runs_dir))]
    if not watchers:
        raise UsageError(f"there is no run in {store.runs_dir}; begin one, or name --runs-dir.")
    while True:
        if watch and not as_json:
            click.clear()
        for watcher in watchers:
            watcher.connection = _connection(store, watcher.directory, is_needed=bool(name))
            report = _report(watcher)
            click.echo(report.to_json() if as_json else report.to_text())
        if not watch:
            return
        time.sleep(WATCH_INTERVAL_S)


def _watcher(store: Store, run: str) -> RunWatcher:
    directory = RunDirectory(store.runs_dir, run)
    directory.check_exists()
    return RunWatcher(directory, None)


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


def _report(watcher: RunWatcher) -> Report:
    state = watcher.look()
    with ReadProgress(f"counting the lines of {state.run}") as progress:
        funnel = watcher.funnel(progress.show)
    return Report(state=state, rate=_recent_rate(watcher.directory.results_path), funnel=funnel)


def _recent_rate(results: Path) -> float | None:
    """Accepted records per second at the end of the file; None for a run at rest."""
    try:
        with results.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[1 if size > TAIL_BYTES else 0 : -1]
    except FileNotFoundError:
        return None
    # Lines stand in the order of refining.
    times = sorted(filter(None, map(_generated_at, lines)))
    if not times or time.time() - times[-1].timestamp() > STALE_S:
        return None
    # A run that was resumed has a gap that is no part of its rate.
    gaps = [index for index, (a, b) in enumerate(pairwise(times), 1) if _seconds(a, b) > STALE_S]
    recent = times[gaps[-1] if gaps else 0 :]
    elapsed_s = _seconds(recent[0], recent[-1])
    return round((len(recent) - 1) / elapsed_s, 2) if elapsed_s else None


def _generated_at(line: bytes) -> datetime | None:
    """Return when a line's text was written; None where it does not say, or says something else."""
    try:
        at = datetime.fromisoformat(orjson.loads(line)["meta"]["generated_at"])
    except (ValueError, TypeError, KeyError):
        return None
    return at if at.tzinfo else None


def _seconds(first: datetime, last: datetime) -> float:
    return (last - first).total_seconds()
