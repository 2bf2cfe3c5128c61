"""
Watching: what it costs a run that somebody looks at all there is to see of it.

`watched` is the `contextvqa` of `benchmarks.feed`, the same engine and images, while each of its three
endpoints of metrics is asked once a second and `contextvqa status --watch` looks at it, all on the
same machine. `unwatched` is looked at by nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.command import main
from benchmarks.feed import RUN, STALL_S, Ours, work_of
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.lines import READY, read
from benchmarks.processes import Program
from benchmarks.scraping import address_in, scraping, status_watching
from contextvqa.errors import UnavailableError

BASELINE = "unwatched"
METRICS = (Metric(name="records_per_s", title="records/s", baseline=BASELINE),)


class Watched(Ours):
    """The real `contextvqa run`, and everybody who may look at it."""

    @contextmanager
    def _company(self, directory: Path, program: Program) -> Iterator[None]:
        logs = [directory / "log"]
        logs += [directory / RUN / "logs" / f"{name}.log" for name in ("refiner", "worker")]
        addresses = [address_in(log, program, stall_s=STALL_S) for log in logs]
        place = ("--runs-dir", str(directory))
        with (
            scraping(addresses),
            status_watching(RUN, directory, *place, stall_s=STALL_S),
        ):
            if READY in read(logs[-1]):
                raise UnavailableError("the engine was ready before everybody looked")
            yield

    def _command(self, directory: Path) -> list[str]:
        return [*super()._command(directory), "--metrics-port", "0"]


def contenders(scale: float) -> list[Contender]:
    """Return the same run, looked at by nobody and by all."""
    work = work_of(scale)
    return [Ours(BASELINE, work), Watched("watched", work)]


BENCHMARK = Benchmark(
    name="watching",
    title="What it costs a run to be watched",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
