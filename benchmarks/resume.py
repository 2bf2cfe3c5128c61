"""
Resume: how long a process takes to know what is missing of a run that has most of its records.

A file of short results (real ones have some 2,500 bytes: a rebuild reads those at the speed of the
disk) is looked at by fresh processes: `rebuild` has no snapshot and reads it all, `snapshot` has
the one that a rebuild has left. Both then look up a million keys, every other of them one that is
missing, and all keys of the file in its order, as the same input again asks for them: so many at
once as the producer looks up. Seconds of CPU tell more than those of a clock on a machine that others
use too; only a disk that is slower than the reading makes it wait.
"""

import atexit
import time
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.command import OUTPUT, main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.memory import peak_rss_mb
from benchmarks.processes import in_fresh_process
from contextvqa.storage import snapshot
from contextvqa.storage.follower import SAVE_BYTES
from contextvqa.storage.key_index import KeyIndex, Keys
from contextvqa.storage.key_set import KEY_BYTES
from producer.batch import BATCH

NUM_RECORDS = 10_000_000
#: Length of each line.
LINE_BYTES = 200
#: A smaller file gets no snapshot.
MIN_RECORDS = SAVE_BYTES // LINE_BYTES + 1
#: Keys that are looked up, every other of them one that is missing.
NUM_LOOKUPS = 1_000_000
BASELINE = "rebuild"
METRICS = (
    Metric(name="open_s", title="until it knows all keys, s", baseline=BASELINE),
    Metric(name="open_cpu_s", title="of it CPU, s", baseline=BASELINE),
    Metric(name="lookup_us", title="each of 1 M look-ups, us of CPU", baseline=BASELINE),
    Metric(name="all_lookups_s", title="all keys looked up, s of CPU", baseline=BASELINE),
    Metric(name="peak_mb", title="peak memory, MB", baseline=BASELINE),
    Metric(name="snapshot_mb", title="snapshot on disk, MB", baseline=BASELINE),
)


class Results:
    """The file, made once for all contenders; it goes with this process."""

    def __init__(self, num_records: int) -> None:
        self.num_records = num_records
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """Where it is; the first to ask waits until it is written."""
        if self._path is None:
            OUTPUT.mkdir(parents=True, exist_ok=True)
            directory = TemporaryDirectory(prefix="results-", dir=OUTPUT)
            atexit.register(directory.cleanup)
            self._path = Path(directory.name).resolve() / "results.jsonl"
            write_results(self._path, self.num_records)
        return self._path

    @property
    def snapshot_path(self) -> Path:
        """Where its snapshot is, if it has one."""
        return snapshot.path_of(self.path, Keys.what)


class Rebuild(Contender):
    """Reads the whole file, and leaves a snapshot."""

    name = BASELINE

    def __init__(self, results: Results) -> None:
        self.size = f"{results.num_records:,} records"
        self._results = results

    def prepare(self) -> None:
        """Write the file."""
        assert self._results.path.exists()  # noqa: S101 - our own invariant

    def measure(self, directory: Path) -> Mapping[str, float]:  # noqa: ARG002 - leaves nothing
        """Look at it as if nobody had before."""
        self._results.snapshot_path.unlink(missing_ok=True)
        return self._resume()

    def _resume(self) -> dict[str, float]:
        return in_fresh_process(resume, self._results.path, self._results.num_records)


class Snapshot(Rebuild):
    """Reads the snapshot that a rebuild has left."""

    name = "snapshot"

    def measure(self, directory: Path) -> Mapping[str, float]:  # noqa: ARG002 - leaves nothing
        """Look at the file again."""
        if not self._results.snapshot_path.exists():  # where this contender alone is measured
            self._resume()
        return {**self._resume(), "snapshot_mb": self._results.snapshot_path.stat().st_size / 1e6}


def key_of(number: int) -> str:
    """Return the key of a made-up record."""
    return blake2b(number.to_bytes(8), digest_size=KEY_BYTES).hexdigest()


def write_results(path: Path, num_records: int) -> None:
    """Write as many results, each a line that an index can read."""
    with path.open("wb") as file:
        for number in range(num_records):
            start = f'{{"id":{number},"meta":{{"key":"{key_of(number)}","attempt":1}},"vqa":"'
            file.write(start.ljust(LINE_BYTES - 3, "x").encode() + b'"}\n')


def resume(path: Path, num_records: int) -> dict[str, float]:
    """Open the index, and find out which keys are missing."""
    began, cpu_began = time.perf_counter(), time.process_time()
    index = KeyIndex(path)
    index.follow()
    open_s, open_cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    assert len(index) == num_records  # noqa: S101 - else the figures mean nothing
    missing, lookups_s = look_up(index, mixed_numbers(num_records))
    assert missing == NUM_LOOKUPS // 2  # noqa: S101 - the same
    missing, all_lookups_s = look_up(index, iter(range(num_records)))
    assert missing == 0  # noqa: S101 - the same
    return {
        "open_s": open_s,
        "open_cpu_s": open_cpu_s,
        "lookup_us": lookups_s / NUM_LOOKUPS * 1e6,
        "all_lookups_s": all_lookups_s,
        "peak_mb": peak_rss_mb(),
    }


def look_up(index: KeyIndex, numbers: Iterator[int]) -> tuple[int, float]:
    """Look up records; return how many are missing, and the CPU seconds without making their keys."""
    missing, cpu_s = 0, 0.0
    while keys := [key_of(number) for number in islice(numbers, BATCH)]:
        began = time.process_time()
        missing += len(keys) - len(index.select(keys))
        cpu_s += time.process_time() - began
    return missing, cpu_s


def mixed_numbers(num_records: int) -> Iterator[int]:
    """Return records to look up: from all over the file, and as many that are not in it."""
    step = max(1, 2 * num_records // NUM_LOOKUPS)
    for number in range(NUM_LOOKUPS // 2):
        yield number * step % num_records
        yield num_records + number


def contenders(scale: float) -> list[Contender]:
    """Return both, with one file."""
    results = Results(max(MIN_RECORDS, round(NUM_RECORDS * scale)))
    return [Rebuild(results), Snapshot(results)]


BENCHMARK = Benchmark(
    name="resume",
    title="What is missing of a run: time and memory to find out",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
