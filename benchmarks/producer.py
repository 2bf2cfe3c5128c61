"""
Producer: how fast rows become jobs, and how much memory that takes however many rows there are.

A fresh process enqueues rows from a file into an embedded server, with a high-water mark above them
all. The server, whose memory does not count, takes 1.5 GB for a million. `resumed` enqueues as many
rows when all but one in ten thousand have their results, with the snapshot that is left of those.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.command import main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.memory import peak_rss_mb
from benchmarks.processes import in_fresh_process
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.runs import Runs
from contextvqa.records import record_key, to_line
from contextvqa.settings import Sampling
from contextvqa.storage.key_index import KeyIndex
from contextvqa.storage.run_directory import RunDirectory
from producer.enqueue import Enqueuer
from producer.prompt import DEFAULT_PROMPT
from producer.room import Room
from producer.rows import BadRow, read_rows

NUM_ROWS = 1_000_000
RUN = "benchmark"
#: Of so many rows one is not done.
MISSING_EVERY = 10_000
BASELINE = "quarter"
METRICS = (
    Metric(name="rows_per_s", title="rows/s", baseline=BASELINE),
    Metric(name="cpu_us", title="CPU per row, us", baseline=BASELINE),
    Metric(name="peak_mb", title="peak memory, MB", baseline=BASELINE),
)


class Producer(Contender):
    """Enqueues so many rows: figures that depend on their number show in the ratio."""

    def __init__(self, name: str, num_rows: int, *, is_resumed: bool = False) -> None:
        self.name = name
        self.size = f"{num_rows:,} rows"
        self._num_rows = num_rows
        self._is_resumed = is_resumed

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Write the input, and let a fresh process enqueue it."""
        source = directory / "input.jsonl"
        write_rows(source, self._num_rows)
        num_missing = self._num_rows
        if self._is_resumed:
            num_missing -= write_results(RunDirectory(directory, RUN), self._num_rows)
        with EmbeddedServer(directory / "redis") as server:
            seconds, cpu_s, peak_mb = in_fresh_process(
                enqueue, source, directory, server.url, num_missing
            )
        return {
            "rows_per_s": self._num_rows / seconds,
            "cpu_us": cpu_s / self._num_rows * 1e6,
            "peak_mb": peak_mb,
        }


def write_rows(path: Path, num_rows: int) -> None:
    """Write an input of different images."""
    with path.open("wb") as file:
        for number in range(num_rows):
            file.write(b'{"image": ["./images/%09d.jpg"]}\n' % number)


def write_results(directory: RunDirectory, num_rows: int) -> int:
    """Write a result of all rows but a few, as refiners leave them; return how many have one."""
    directory.path.mkdir()
    with directory.results_path.open("wb") as file:
        for number in range(num_rows):
            if not number % MISSING_EVERY:
                continue
            key = record_key(None, (f"./images/{number:09d}.jpg",), DEFAULT_PROMPT)
            file.write(to_line({"id": number, "meta": {"key": key, "attempt": 1}}))
    index = KeyIndex(directory.results_path)
    index.follow()
    return len(index)


def enqueue(source: Path, runs_dir: Path, url: str, num_missing: int) -> tuple[float, float, float]:
    """Enqueue the input; return the seconds that it took, those of CPU, and the peak of memory."""
    directory = RunDirectory(runs_dir, RUN)
    config = directory.begin("model", Sampling(), str(source))
    connection = connect_to_queue(url)
    runs = Runs(connection)
    runs.store(config)
    enqueuer = Enqueuer(connection, directory, runs)
    room = Room(connection, directory.run, high_water=num_missing + 1)
    began, cpu_began = time.perf_counter(), time.process_time()
    enqueuer.enqueue(read_rows(source), refuse, lambda: room.wait("enqueueing"))
    elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    assert enqueuer.counts.enqueued == num_missing  # noqa: S101 - else the figures mean nothing
    return elapsed_s, cpu_s, peak_rss_mb()


def refuse(row: BadRow) -> None:
    """Refuse to measure an input that is none."""
    raise AssertionError(row)


def contenders(scale: float) -> list[Contender]:
    """Return a quarter of the rows, all, and all again."""
    num_rows = max(4, round(NUM_ROWS * scale))
    return [
        Producer("quarter", num_rows // 4),
        Producer("whole", num_rows),
        Producer("resumed", num_rows, is_resumed=True),
    ]


BENCHMARK = Benchmark(
    name="producer",
    title="Rows into the queue: rows/s and memory",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
