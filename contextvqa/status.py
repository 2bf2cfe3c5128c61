"""`contextvqa status`: where a run stands."""

import time
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import orjson
import redis

from contextvqa.connection import connect
from contextvqa.errors import UnavailableError, UsageError
from contextvqa.jobs import RUN_NAME
from contextvqa.options import takes
from contextvqa.pauses import Pause
from contextvqa.run_directory import RunDirectory
from contextvqa.server import url_of_run
from contextvqa.settings import Store
from contextvqa.state import RejectState, RunWatcher

#: Seconds between two looks with --watch.
WATCH_INTERVAL_S = 2.0
#: Bytes at the end of results.jsonl from which the rate is read.
TAIL_BYTES = 1 << 19
#: Seconds without a result after which a run has no rate.
STALE_S = 120.0


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run, on stdout.")
@takes(Store)
def command(*, name: str | None, watch: bool, as_json: bool, store: Store) -> None:
    """Show counts, rate, queues, workers and rejects by reason of run NAME, or of all runs."""
    watchers = [_watcher(store, run) for run in ([name] if name else _runs(store.runs_dir))]
    if not watchers:
        raise UsageError(f"there is no run in {store.runs_dir}; begin one, or name --runs-dir.")
    while True:
        if watch and not as_json:
            click.clear()
        for watcher in watchers:
            watcher.connection = _connection(store, watcher.directory, is_needed=bool(name))
            report = _report(watcher)
            click.echo(orjson.dumps(report) if as_json else _text(report))
        if not watch:
            return
        time.sleep(WATCH_INTERVAL_S)


def _runs(runs_dir: Path) -> list[str]:
    names = sorted(path.parent.name for path in runs_dir.glob("*/run.json"))
    return [name for name in names if RUN_NAME.fullmatch(name)]


def _watcher(store: Store, run: str) -> RunWatcher:
    directory = RunDirectory(store.runs_dir, run)
    directory.check_exists()
    return RunWatcher(directory, None)


def _connection(store: Store, directory: RunDirectory, *, is_needed: bool) -> redis.Redis | None:
    """Connect to the run's server; None where it need not, or cannot, be asked."""
    try:
        url = url_of_run(store.server_url, directory.redis_path)
    except UnavailableError:
        return None  # an embedded server stops with its run
    try:
        return connect(url)
    except UnavailableError:
        if is_needed:
            raise
        return None


def _report(watcher: RunWatcher) -> dict[str, Any]:
    state = watcher.look()
    rate = _recent_rate(watcher.directory.results_path)
    return {
        **asdict(state),
        "rate": rate,
        "eta_s": round(state.pending / rate) if state.pending and rate else None,
        "rejects": {reason: asdict(reject) for reason, reject in watcher.rejects().items()},
    }


def _recent_rate(results: Path) -> float | None:
    """Accepted records per second at the end of the file; None for a run at rest."""
    try:
        with results.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[1 if size > TAIL_BYTES else 0 : -1]
    except FileNotFoundError:
        return None
    metas = [orjson.loads(line)["meta"] for line in lines]
    # Lines stand in the order of refining.
    times = sorted(datetime.fromisoformat(m["generated_at"]) for m in metas if "generated_at" in m)
    if not times or time.time() - times[-1].timestamp() > STALE_S:
        return None
    # A run that was resumed has a gap that is no part of its rate.
    gaps = [index for index, (a, b) in enumerate(pairwise(times), 1) if _seconds(a, b) > STALE_S]
    recent = times[gaps[-1] if gaps else 0 :]
    elapsed_s = _seconds(recent[0], recent[-1])
    return round((len(recent) - 1) / elapsed_s, 2) if elapsed_s else None


def _seconds(first: datetime, last: datetime) -> float:
    return (last - first).total_seconds()


def _text(report: dict[str, Any]) -> str:
    pending = "unknown (its server is not running)"
    if report["pending"] is not None:
        pending = str(report["pending"])
    counts = f"{report['accepted']} accepted, {report['rejected']} rejected, pending {pending}"
    lines = [f"run {report['run']}: {counts}"]
    if report["paused"]:
        pause = Pause(**report["paused"])
        lines.append(f"  {pause.advise(report['run'])}")
    if report["rate"]:
        eta = f", about {report['eta_s']} s left" if report["eta_s"] else ""
        lines.append(f"  {report['rate']} records/s{eta}")
    for name, queue in report["queues"].items():
        counts = ", ".join(f"{count} {what}" for what, count in queue.items())
        lines.append(f"  queue {name}: {counts}")
    lines += [
        f"  worker {worker['name']}: {worker['state']}, {worker['settled']} settled"
        for worker in report["workers"]
    ]
    lines += [
        RejectState(**reject).describe(reason) for reason, reject in report["rejects"].items()
    ]
    return "\n".join(lines)
