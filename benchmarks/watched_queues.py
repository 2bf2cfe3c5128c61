"""
Watched queues: what being watched costs per record, where records cost next to nothing.

The work of `benchmarks.queues` by our own commands, which no engine slows down: a hundred times the
records/s of a run on the same cores, all of which are busy. `unwatched` serves no metrics; `metrics`
has worker and refiner serve theirs, each asked once a second; `watched` also has the aggregate
endpoint, asked as often, and `contextvqa status --watch`. These two read every line that is written.
"""

from contextlib import ExitStack

import redis

from benchmarks.chain import RUN, Place
from benchmarks.command import main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.processes import Program, python_command
from benchmarks.queues import STALL_S, Peer
from benchmarks.scraping import address_in, scraping, status_watching
from benchmarks.watching import BASELINE
from contextvqa.options import as_environment
from contextvqa.settings import Metrics

METRICS = (
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="cpu_ms", title="CPU ms/record, stages and server", baseline=BASELINE),
    Metric(name="watchers_cpu_ms", title="CPU ms/record, who looks", baseline="watched"),
    Metric(name="commands_per_record", title="commands/record", baseline=BASELINE),
)
#: Has a process serve its metrics at a port of its choice.
ANY_PORT = as_environment(Metrics(metrics_port=0))


class Watched(Peer):
    """Our own queue with somebody who looks at some of its processes."""

    def __init__(self, name: str, scale: float, *, metrics: bool, commands: bool) -> None:
        super().__init__("contextvqa", scale)
        self.name = name
        #: Whether the two stages serve metrics.
        self._serves = metrics
        #: Whether the commands that watch whole runs are there too.
        self._has_commands = commands

    def _start(self, place: Place, verb: str, *arguments: str, **variables: str) -> Program:
        if self._serves and verb != "enqueue":
            variables |= ANY_PORT
        return super()._start(place, verb, *arguments, **variables)

    def _measure(
        self, place: Place, connection: redis.Redis, generate: Program, refine: Program
    ) -> dict[str, float]:
        watchers: list[Program] = []
        with ExitStack() as stack:
            if self._has_commands:
                where = ("--redis-url", place.redis_url, "--runs-dir", str(place.runs_dir))
                command = python_command("contextvqa", "metrics", "--metrics-port", "0", *where)
                metrics = Program("metrics", command, {}, place.directory / "metrics.log")
                status = status_watching(RUN, place.directory, *where, stall_s=STALL_S)
                watchers = [stack.enter_context(each) for each in (metrics, status)]
            serving = [generate, refine, *watchers[:1]] if self._serves else []
            addresses = [address_in(each.log, each, stall_s=STALL_S) for each in serving]
            stack.enter_context(scraping(addresses))
            before_s = sum(watcher.cpu_s() for watcher in watchers)
            measured = super()._measure(place, connection, generate, refine)
            watchers_s = sum(watcher.cpu_s() for watcher in watchers) - before_s
        if watchers:
            measured["watchers_cpu_ms"] = watchers_s * 1000 / self._num_records
        return measured


def contenders(scale: float) -> list[Contender]:
    """Return the same work, looked at by nobody, by Prometheus, and by all there is."""
    return [
        Watched(BASELINE, scale, metrics=False, commands=False),
        Watched("metrics", scale, metrics=True, commands=False),
        Watched("watched", scale, metrics=True, commands=True),
    ]


BENCHMARK = Benchmark(
    name="watched_queues",
    title="What it costs two stages through one Redis to be watched",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
