"""What a soak leaves on disk: one file of samples, one of what was done and what became of it."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.machine import Machine
from contextvqa.records import from_payload
from tests.soak.watch import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """A container that was killed."""

    #: Seconds since the soak began.
    at_s: float
    victim: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of the records."""

    num_rows: int
    num_results: int
    num_rejects: int
    #: Rows without a line.
    num_lost: int
    #: Lines of results.jsonl beyond the first of their key.
    num_doubled: int
    #: From the last row to the last line, in seconds.
    end_s: float
    #: Exit code of `contextvqa audit --input`.
    audit_code: int

    @property
    def is_whole(self) -> bool:
        """Whether each record has its one line."""
        return not (self.num_lost or self.num_doubled or self.audit_code)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One soak that has ended."""

    machine: Machine
    server: str
    duration_s: float
    seed: str
    kills: tuple[Kill, ...]
    outcome: Outcome


def write(record: Record, directory: Path) -> None:
    """Write all but the samples, which `append` has written meanwhile."""
    (directory / "soak.json").write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))


def append(sample: Sample, directory: Path) -> None:
    """Write a sample down at once: a soak that breaks off shows how it came to that."""
    with (directory / "samples.jsonl").open("ab") as file:
        file.write(orjson.dumps(sample, option=orjson.OPT_APPEND_NEWLINE))


def read(directory: Path) -> tuple[Record, list[Sample]]:
    """Read what they have written."""
    record = from_payload(orjson.loads((directory / "soak.json").read_bytes()), Record)
    lines = (directory / "samples.jsonl").read_bytes().splitlines()
    return record, [from_payload(orjson.loads(line), Sample) for line in lines]
