"""The metrics of all runs and of the server that their queues are on, from what outlives processes."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import redis
from prometheus_client import Metric
from prometheus_client.registry import Collector

from contextvqa.errors import ContextVQAError
from contextvqa.storage.follower import OnRead
from contextvqa.storage.run_directory import RunDirectory, runs_in
from contextvqa.watching import run_metrics, server_metrics
from contextvqa.watching.funnel import FunnelState
from contextvqa.watching.server_metrics import ServerLook
from contextvqa.watching.state import RunWatcher

log = logging.getLogger("contextvqa")


class Aggregate(Collector):
    """
    Looks at everything whenever it is asked, and reads only what is new in the files.

    What it shows does not depend on who counted it or was killed meanwhile: whenever nothing moves,
    it is exact.

    Args:
        run: The only run to look at; None for all that are there, new ones included.
        connection: The server that the runs are on.
        is_for_all: Whether they all are; else those that ever had an embedded server are not.

    """

    def __init__(
        self, runs_dir: Path, run: str | None, connection: redis.Redis, *, is_for_all: bool
    ) -> None:
        self._runs_dir = runs_dir
        self._run = run
        self._connection = connection
        self._is_for_all = is_for_all
        self._watchers: dict[str, RunWatcher] = {}
        #: Whether the server answered when we last looked.
        self._is_server_up = True
        #: Runs that could not be read when we last looked.
        self._unreadable: set[str] = set()
        #: Whoever asks meanwhile waits: a watcher reads for one at a time.
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as of now."""
        with self._lock:
            runs = self._follow_runs()
            # Redis first: a job is settled after its line, so that no record is in neither.
            server = self._look_at_server(runs)
            funnels = {run: self._funnel(run, lambda *_: None) for run in runs}
        yield from server_metrics.families(server)
        yield from run_metrics.families(funnels)

    def read(self, on_read: OnRead) -> None:
        """Read what the files have by now, so that the first who asks need not wait for it."""
        with self._lock:
            for run in self._follow_runs():
                self._funnel(run, on_read)

    def _follow_runs(self) -> list[str]:
        """Return the runs that are there, and watch these."""
        runs = [self._run] if self._run else runs_in(self._runs_dir)
        self._watchers = {
            run: self._watchers.get(run) or RunWatcher(RunDirectory(self._runs_dir, run), None)
            for run in runs
        }
        return runs

    def _look_at_server(self, runs: list[str]) -> ServerLook | None:
        there = list(filter(self._is_on_server, runs))
        try:
            look = server_metrics.look_at(self._connection, there)
        except redis.RedisError as error:
            if self._is_server_up:
                log.info("redis: %s", error)
            self._is_server_up = False
            return None
        self._is_server_up = True
        return look

    def _is_on_server(self, run: str) -> bool:
        return self._is_for_all or not self._watchers[run].directory.redis_path.exists()

    def _funnel(self, run: str, on_read: OnRead) -> FunnelState | None:
        """Return what became of a run's records; None, and say so once, where that is unreadable."""
        watcher = self._watchers[run]
        try:
            watcher.look()
            funnel = watcher.funnel(on_read)
        except (ContextVQAError, OSError) as error:
            if run not in self._unreadable:
                log.warning("run %s is left out: %s", run, error)
            self._unreadable.add(run)
            return None
        self._unreadable.discard(run)
        return funnel
