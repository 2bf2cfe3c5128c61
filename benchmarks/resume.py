"""
How long a process takes to know what is missing of a run that has most of its records.

    python -m benchmarks.resume --records 10000000

Makes a results file of short lines (real ones have some 2,500 bytes: a rebuild reads those at the
speed of the disk), and looks at it with fresh processes: without a snapshot, then with the one that
the first has left.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks.memory import peak_rss_mb
from contextvqa import snapshot
from contextvqa.key_index import KeyIndex
from contextvqa.key_set import KEY_BYTES

#: Length of each line; 20 M of them are the most that may lie on the disk.
LINE_BYTES = 200
MAX_RECORDS = 20_000_000
#: Keys that are looked up, every other of them one that is missing.
NUM_LOOKUPS = 1_000_000

Figures = dict[str, float]


@click.command()
@click.option(
    "--records", "num_records", type=click.IntRange(1_000_000, MAX_RECORDS), default=10_000_000
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(*, num_records: int, as_json: bool) -> None:
    """Measure a resume with this many records done."""
    with tempfile.TemporaryDirectory(prefix="resume-") as directory:
        path = Path(directory) / "results.jsonl"
        write_results(path, num_records)
        figures: Figures = {
            "records": num_records,
            "line_bytes": path.stat().st_size / num_records,
            **in_fresh_process(rebuild, path),
            "snapshot_mb": snapshot.path_of(path).stat().st_size / 1e6,
            **in_fresh_process(resume, path, num_records),
        }
    if as_json:
        click.echo(orjson.dumps(figures))
        return
    for name, figure in figures.items():
        click.echo(f"{name:24} {figure:14,.2f}")


def key_of(number: int) -> str:
    """Return the key of a made-up record."""
    return blake2b(number.to_bytes(8), digest_size=KEY_BYTES).hexdigest()


def write_results(path: Path, num_records: int) -> None:
    """Write as many results, each a line that an index can read."""
    with path.open("wb") as file:
        for number in range(num_records):
            start = f'{{"id":{number},"meta":{{"key":"{key_of(number)}","attempt":1}},"vqa":"'
            file.write(start.ljust(LINE_BYTES - 3, "x").encode() + b'"}\n')


def in_fresh_process(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Return what a function measures in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def rebuild(path: Path) -> Figures:
    """Read the whole file, and leave a snapshot."""
    began = time.perf_counter()
    index = KeyIndex(path)
    index.follow()
    elapsed_s = time.perf_counter() - began
    return {
        "rebuild_s": elapsed_s,
        "rebuild_lines_per_s": index.num_lines / elapsed_s,
        "rebuild_peak_mb": peak_rss_mb(),
    }


def resume(path: Path, num_records: int) -> Figures:
    """Open the index by its snapshot, and find out which of many keys are missing."""
    began = time.perf_counter()
    index = KeyIndex(path)
    index.follow()
    opened_s = time.perf_counter() - began
    assert len(index) == num_records  # noqa: S101 - else the figures mean nothing
    missing, lookups_s = 0, 0.0
    for keys in batches(num_records):
        began = time.perf_counter()
        missing += sum(key not in index for key in keys)
        lookups_s += time.perf_counter() - began
    assert missing == NUM_LOOKUPS // 2  # noqa: S101 - the same
    return {
        "open_s": opened_s,
        "lookup_us": lookups_s / NUM_LOOKUPS * 1e6,
        "resume_peak_mb": peak_rss_mb(),
    }


def batches(num_records: int) -> Iterator[list[str]]:
    """Return the keys to look up, in batches: from all over the file, and as many of none."""
    size = 10_000
    step = max(1, 2 * num_records // NUM_LOOKUPS)
    for start in range(0, NUM_LOOKUPS // 2, size // 2):
        numbers = range(start, start + size // 2)
        there = [key_of(number * step % num_records) for number in numbers]
        yield there + [key_of(num_records + number) for number in numbers]


if __name__ == "__main__":
    command()
