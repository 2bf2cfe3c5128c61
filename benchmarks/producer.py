"""
How fast the producer enqueues, and how much memory it takes however many rows there are.

    python -m benchmarks.producer --rows 1000000

Enqueues rows from a file into an embedded server with a high-water mark above them all. The server
takes 1.5 GB of memory for a million.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import orjson

from benchmarks.memory import peak_rss_mb
from contextvqa.connection import connect_to_queue
from contextvqa.run_directory import RunDirectory
from contextvqa.runs import Runs
from contextvqa.server import EmbeddedServer
from contextvqa.settings import Sampling
from producer.enqueue import Enqueuer
from producer.room import Room
from producer.rows import BadRow, Row, read_rows

#: Parts of the rows after which speed and memory are noted.
NUM_PARTS = 4

Figures = dict[str, float]


@click.command()
@click.option("--rows", "num_rows", type=click.IntRange(min=NUM_PARTS), default=1_000_000)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per part on stdout.")
def command(*, num_rows: int, as_json: bool) -> None:
    """Measure the enqueueing of this many rows."""
    with tempfile.TemporaryDirectory(prefix="enqueue-") as name:
        directory = Path(name)
        source = directory / "input.jsonl"
        write_rows(source, num_rows)
        with EmbeddedServer(directory / "redis") as server:
            for figures in measure(source, directory, server.url, num_rows):
                click.echo(orjson.dumps(figures) if as_json else describe(figures))


def write_rows(path: Path, num_rows: int) -> None:
    """Write an input of different images."""
    with path.open("wb") as file:
        for number in range(num_rows):
            file.write(b'{"image": ["./images/%09d.jpg"]}\n' % number)


def measure(source: Path, runs_dir: Path, url: str, num_rows: int) -> Iterator[Figures]:
    """Enqueue the input; yield the figures of each part of it."""
    directory = RunDirectory(runs_dir, "benchmark")
    config = directory.begin("model", Sampling(), str(source))
    connection = connect_to_queue(url)
    runs = Runs(connection)
    runs.store(config)
    enqueuer = Enqueuer(connection, directory, runs)
    room = Room(connection, directory.run, high_water=num_rows + 1)
    rows = read_rows(source)
    part_rows = num_rows // NUM_PARTS
    for part in range(1, NUM_PARTS + 1):
        began = time.perf_counter()
        enqueuer.enqueue(first(rows, part_rows), report, lambda: room.wait("enqueueing"))
        yield {
            "rows": part * part_rows,
            "rows_per_s": part_rows / (time.perf_counter() - began),
            "peak_mb": peak_rss_mb(),
        }
    assert enqueuer.counts.enqueued == NUM_PARTS * part_rows  # noqa: S101 - else they mean nothing


def first(rows: Iterator[Row | BadRow], num_rows: int) -> Iterator[Row | BadRow]:
    """Take as many rows, and leave the others."""
    return (row for _, row in zip(range(num_rows), rows, strict=False))


def report(row: BadRow) -> None:
    """Refuse to measure an input that is none."""
    raise AssertionError(row)


def describe(figures: Figures) -> str:
    """Return the line that people read."""
    return "{rows:12,} rows  {rows_per_s:8,.0f} rows/s  peak {peak_mb:6.1f} MB".format(**figures)


if __name__ == "__main__":
    command()
