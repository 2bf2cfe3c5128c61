"""
Feed: how many records per second the same engine writes, by who feeds it, and in how much memory.

All contenders get the same images and prompt, the model of examples/flags, the engine arguments of
our worker and its sampling, and load a fresh engine per round, which is not counted. `chat` and
`async_llm` only write, from images that are open before the clock starts: the faster of the two is
what vLLM can do here, and the shortfall from it what a pipeline costs. `seed` also opens images,
parses and writes a file, one step after the other, in one process (`benchmarks.feeds` has all
three). `contextvqa` is the real `contextvqa run`: embedded server, worker, refiner, lines on disk;
its clock runs from the moment when its worker is about to claim to the last line. The looks that
tell come every 10 ms.

The same again with four times the records says how memory grows. Peak memory is that of all
processes of a contender from their start to their end, looked at from outside.
"""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks import flags
from benchmarks.command import OUTPUT, main
from benchmarks.feeds.program import FLAGS, LEFT, Left, Model
from benchmarks.feeds.program import command as feed_command
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.lines import READY, Lines, read, wait_for_words
from benchmarks.memory import PeakMemory
from benchmarks.processes import Program, python_command
from contextvqa.errors import UnavailableError
from contextvqa.options import as_flags
from contextvqa.records import from_payload

BASELINE = "async_llm"
METRICS = (
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="peak_memory_mb", title="peak memory, MB", baseline=BASELINE),
    Metric(name="load_s", title="engine loading, s", baseline=BASELINE),
)
NUM_RECORDS = 400
#: Fewer would not fill the engine even for a moment.
MIN_RECORDS = 40
#: How many times the records the larger contenders have.
LARGER = 4
#: Longest time until a model is loaded, and without a new line, in seconds.
STALL_S = 180.0
#: What the log of a worker says when its model is there.
LOADED = re.compile(r"loaded: model .* in ([0-9.]+) s")
RUN = "feed"
#: The files of a run that a record may end in.
OUTPUTS = ("results.jsonl", "rejects.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What the engine is fed with."""

    num_records: int
    model: Model = FLAGS
    #: Writes the input with so many records below a directory, once, and returns it.
    draw: Callable[[int, Path], Path] = flags.draw


class Feeder(Contender):
    """One way to feed the engine."""

    def __init__(self, name: str, work: Work, *, max_rounds: int | None = None) -> None:
        self.name = name
        self.max_rounds = max_rounds
        self.size = f"{work.num_records:,} records"
        self.work = work
        self._source: Path | None = None

    def prepare(self) -> None:
        """Draw the images."""
        self._source = self.work.draw(self.work.num_records, OUTPUT.resolve())

    @property
    def source(self) -> Path:
        """The input, once prepared."""
        assert self._source is not None  # noqa: S101 - our own invariant
        return self._source


class Offline(Feeder):
    """A program of `benchmarks.feeds`."""

    def __init__(
        self, name: str, module: str, work: Work, *, max_rounds: int | None = None
    ) -> None:
        super().__init__(name, work, max_rounds=max_rounds)
        self._module = module

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Let it run to its end, and read what it left."""
        left, peak_memory_mb = run_to_end(
            self.name, directory, self._module, self.source, self.work.model
        )
        check_count(sum(map(bool, left.texts)), self.work.num_records, directory)
        return {
            "records_per_s": self.work.num_records / left.feed_s,
            "peak_memory_mb": peak_memory_mb,
            "load_s": left.load_s,
        }


class Ours(Feeder):
    """The real `contextvqa run`."""

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Run it, and watch its files."""
        run = directory / RUN
        worker_log = run / "logs" / "worker.log"
        with (
            Program(self.name, self._command(directory), {}, directory / "log") as program,
            PeakMemory(program.memory_bytes) as memory,
        ):
            with self._company(directory, program):
                began = wait_for_words(READY, worker_log, program, stall_s=STALL_S)
                lines = Lines(run, OUTPUTS, (program,), stall_s=STALL_S)
                lines.wait_for(self.work.num_records)
                feed_s = time.monotonic() - began
            program.wait()
        check_count(num_texts(run), self.work.num_records, directory)
        loaded = LOADED.search(read(worker_log))
        assert loaded is not None  # noqa: S101 - it was ready
        return {
            "records_per_s": self.work.num_records / feed_s,
            "peak_memory_mb": memory.mb,
            "load_s": float(loaded[1]),
        }

    def _company(
        self,
        directory: Path,  # noqa: ARG002 - for others
        program: Program,  # noqa: ARG002
    ) -> AbstractContextManager[object]:
        """Start whatever is to be there beside the run before its engine is ready: nothing."""
        return nullcontext()

    def _command(self, directory: Path) -> list[str]:
        return python_command(
            *("contextvqa", "run", str(self.source), "--run", RUN),
            *("--runs-dir", str(directory), "--image-root", str(self.source.parent)),
            # What the model gets wrong is a record all the same: its one text has been written.
            *("--model", str(self.work.model.path), "--max-attempts", "1"),
            *("--max-rejects", "100%"),
            *as_flags(self.work.model.options),
        )


def run_to_end(
    name: str, directory: Path, module: str, source: Path, model: Model = FLAGS
) -> tuple[Left, float]:
    """Run a program of `benchmarks.feeds`; return what it left, and its peak memory in MB."""
    command = feed_command(module, source, directory, model)
    with (
        Program(name, command, {}, directory / "log") as program,
        PeakMemory(program.memory_bytes) as memory,
    ):
        program.wait()
    return from_payload(orjson.loads((directory / LEFT).read_bytes()), Left), memory.mb


def num_texts(run: Path) -> int:
    """Return how many records of a run have a text, be it accepted or rejected."""
    lines = [orjson.loads(line) for name in OUTPUTS for line in read(run / name).splitlines()]
    return len({line["meta"]["key"] for line in lines if line.get("vqa")})


def check_count(count: int, num_records: int, directory: Path) -> None:
    """Refuse a measurement in which a text is missing."""
    if count != num_records:
        raise UnavailableError(f"{count} texts for {num_records} records (see {directory})")


def work_of(scale: float) -> Work:
    """Return what the engine is fed with at a scale."""
    return Work(num_records=max(MIN_RECORDS, round(NUM_RECORDS * scale)))


def contenders(scale: float) -> list[Contender]:
    """Return all ways, and two of them with more records."""
    work = work_of(scale)
    larger = Work(num_records=LARGER * work.num_records)
    return [
        Offline("async_llm", "async_llm", work),
        Offline("chat", "chat", work),
        Offline("seed", "seed", work),
        Ours("contextvqa", work),
        Offline(f"seed {LARGER}x", "seed", larger, max_rounds=1),
        Ours(f"contextvqa {LARGER}x", larger, max_rounds=1),
    ]


BENCHMARK = Benchmark(
    name="feed",
    title="One engine, fed in several ways: records/s and peak memory",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
