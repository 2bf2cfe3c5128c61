"""
Watching: what it costs the two stages of `benchmarks.queues` that somebody looks at them.

The same work by our own commands. `unwatched` serves no metrics; `metrics` has worker and refiner
serve theirs, each asked once a second; `watched` also has the aggregate endpoint, asked as often,
and `contextvqa status --watch`, all on the same machine. Prometheus asks every 15 s by default.
"""

import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import redis

from benchmarks.chain import RUN, Place
from benchmarks.command import main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.lines import wait_for_words
from benchmarks.processes import Program, python_command
from benchmarks.queues import STALL_S, Peer
from contextvqa.errors import UnavailableError
from contextvqa.listening import listen

#: Seconds between two scrapes of an endpoint.
SCRAPE_INTERVAL_S = 1.0
#: The variable that `--metrics-port` is read from.
PORT_VARIABLE = "CONTEXTVQA_METRICS_PORT"
BASELINE = "unwatched"
METRICS = (
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="cpu_ms", title="CPU ms/record, stages and server", baseline=BASELINE),
    Metric(name="commands_per_record", title="commands/record", baseline=BASELINE),
)


class Watched(Peer):
    """Our own queue with somebody who looks at some of its processes."""

    def __init__(self, name: str, scale: float, *, stages: Sequence[str], commands: bool) -> None:
        super().__init__("contextvqa", scale)
        self.name = name
        #: The stages that serve metrics, with their ports.
        self._ports = dict.fromkeys(stages, 0)
        #: Whether the commands that watch whole runs are there too.
        self._has_commands = commands

    def _start(self, place: Place, verb: str, *arguments: str, **variables: str) -> Program:
        if verb in self._ports:
            self._ports[verb] = _free_port()
            variables[PORT_VARIABLE] = str(self._ports[verb])
        return super()._start(place, verb, *arguments, **variables)

    def _measure(
        self, place: Place, connection: redis.Redis, generate: Program, refine: Program
    ) -> dict[str, float]:
        ports = dict(self._ports)
        with ExitStack() as stack:
            if self._has_commands:
                ports["metrics"] = _free_port()
                flags = ("--metrics-port", str(ports["metrics"]))
                stack.enter_context(_watcher(place, "metrics", *flags))
                stack.enter_context(_watcher(place, "status", RUN, "--watch", "--json"))
            for name in ports:
                log = place.directory / f"{name}.log"
                wait_for_words("metrics: http", log, generate, stall_s=STALL_S)
            stack.enter_context(_scraping(list(ports.values())))
            return super()._measure(place, connection, generate, refine)


def _watcher(place: Place, name: str, *flags: str) -> Program:
    places = ("--redis-url", place.redis_url, "--runs-dir", str(place.runs_dir))
    command = python_command("contextvqa", name, *flags, *places)
    return Program(name, command, {}, place.directory / f"{name}.log")


@contextmanager
def _scraping(ports: Sequence[int]) -> Iterator[None]:
    """Ask the endpoints, one after the other, once a second."""
    stopped = threading.Event()
    failures: list[OSError] = []

    def scrape() -> None:
        while True:
            for port in ports:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                        answer.read()
                except OSError as error:
                    failures.append(error)
            if stopped.wait(SCRAPE_INTERVAL_S):
                return

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if failures:
        raise UnavailableError(f"an endpoint does not answer: {failures[0]}")


def _free_port() -> int:
    with listen("127.0.0.1", 0, option="") as listening:
        return int(listening.getsockname()[1])


def contenders(scale: float) -> list[Contender]:
    """Return the same work, looked at by nobody, by Prometheus, and by all there is."""
    stages = ("generate", "refine")
    return [
        Watched("unwatched", scale, stages=(), commands=False),
        Watched("metrics", scale, stages=stages, commands=False),
        Watched("watched", scale, stages=stages, commands=True),
    ]


BENCHMARK = Benchmark(
    name="watching",
    title="What it costs to be watched: two stages through one Redis",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
