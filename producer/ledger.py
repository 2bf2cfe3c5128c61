"""
The ledger of a run: how every record ended or where it is, and what does not add up.

Read in the order in which records move, from Redis to the files, so that a record that ends
meanwhile is seen in one of them. In memory are keys, and nothing else of any record.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice

import redis

from contextvqa.errors import RunError
from contextvqa.queueing.queues import job_key
from contextvqa.storage.key_index import KeyIndex
from contextvqa.storage.key_set import KeySet
from contextvqa.storage.rejects import KEY
from contextvqa.storage.run_directory import RunDirectory
from producer.batch import BATCH
from producer.live import LiveRecords
from producer.rows import Row, read_rows

#: Cases of a finding that are named; all are counted.
MAX_EXAMPLES = 10


@dataclass(slots=True)
class Finding:
    """One thing that is wrong: how often, and where."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, example: object) -> None:
        """Count one more case."""
        self.count += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(str(example))


@dataclass(slots=True)
class Findings:
    """All that is wrong. Each of these costs a record, or may."""

    #: Input rows whose records are nowhere.
    missing: Finding = field(default_factory=Finding)
    #: Records that are pending, and that no job carries to any daemon.
    stuck: Finding = field(default_factory=Finding)
    #: Keys with more than one results line.
    doubled: Finding = field(default_factory=Finding)
    #: Whole lines that are no records.
    damaged: Finding = field(default_factory=Finding)


@dataclass(slots=True)
class InputCounts:
    """What the inputs hold."""

    rows: int = 0
    bad: int = 0
    #: Equal to an earlier row of these inputs: one record.
    duplicates: int = 0
    #: Records of the run that are of no row of these inputs.
    others: int = 0


class Ledger:
    """
    The ledger of one run at one moment.

    Args:
        connection: None for a run whose server cannot be had: nothing of it is pending.

    Raises:
        SinkError: The files cannot be read.

    """

    def __init__(self, directory: RunDirectory, connection: redis.Redis | None) -> None:
        self.findings = Findings()
        self.results = KeyIndex(directory.results_path, self._note_damage)
        self.rejects = KeyIndex(directory.rejects_path, self._note_damage)
        self._live = LiveRecords(connection, directory.run) if connection else None
        #: Keys that were on their way when we looked, and those of them that will not arrive.
        self._live_keys: set[str] = set()
        self._stuck_keys: set[str] = set()
        members = self._live.pending() if self._live else set()
        self._follow()
        if self._live:
            self._part(members, self._live)
        for key in self.results.repeated:
            self.findings.doubled.note(f"key {key.hex()}")

    @property
    def done(self) -> int:
        """Records with a result."""
        return len(self.results)

    @property
    def pending(self) -> int:
        """Records without a result that are on their way, for the first time or again."""
        return sum(key not in self.results for key in self._live_keys)

    @property
    def rejected(self) -> int:
        """Records whose last line is a reject, and that are not being tried again."""
        retried = sum(key in self.rejects and key not in self.results for key in self._live_keys)
        return self.rejects.count_outside(self.results) - retried

    @property
    def superseded(self) -> int:
        """Rejects lines that count no more: a later attempt or a result came."""
        num_lines = self.rejects.num_lines - self.rejects.num_damaged
        return num_lines - self.rejects.count_outside(self.results)

    def torn_tails(self) -> list[str]:
        """Describe unfinished last lines: what a crash, or a write under way, leaves."""
        return [
            f"{index.path} ends in {size - index.offset} bytes of an unfinished line; the next "
            "append cuts them off"
            for index in (self.results, self.rejects)
            if index.path.exists() and (size := index.path.stat().st_size) > index.offset
        ]

    def compare(self, sources: tuple[str, ...]) -> InputCounts:
        """
        Look for every row of these inputs, and note those whose records are nowhere.

        Raises:
            UsageError: One of them cannot be read, or is no input.

        """
        counts = InputCounts()
        seen = KeySet()
        for source in sources:
            self._compare_one(source, seen, counts)
        known = self.done + self.rejected + self.pending + len(self._stuck_keys)
        counts.others = known - (len(seen) - self.findings.missing.count)
        return counts

    def _part(self, members: set[str], live: LiveRecords) -> None:
        """Part what is on its way from what is so in name only."""
        self._live_keys = {member for member in members if KEY.fullmatch(member)}
        without_job = live.stuck([key for key in self._live_keys if key not in self.results])
        self._live_keys -= without_job.keys()
        self._stuck_keys = {
            key for key in without_job if key not in self.results and key not in self.rejects
        }
        for key in self._stuck_keys:
            cure = " ".join(f"DEL {job_key(identifier)}" for identifier in without_job[key])
            self.findings.stuck.note(f"key {key}" + (f"; first of all {cure}" if cure else ""))
        for member in members:
            if not KEY.fullmatch(member):
                self.findings.stuck.note(f"{member!r}, which is no key")

    def _compare_one(self, source: str, seen: KeySet, counts: InputCounts) -> None:
        missing: dict[str, int] = {}
        rows = read_rows(source)
        while batch := list(islice(rows, BATCH)):
            good = [row for row in batch if isinstance(row, Row)]
            counts.rows += len(batch)
            counts.bad += len(batch) - len(good)
            numbers = {bytes.fromhex(row.key): row.number for row in reversed(good)}
            new = numbers.keys() - seen.select(numbers)
            seen.update(new)
            counts.duplicates += len(good) - len(new)
            lost = self._nowhere([key.hex() for key in reversed(numbers) if key in new])
            missing |= {key: numbers[bytes.fromhex(key)] for key in lost}
        if missing and self._live:
            # Enqueued, and maybe even ended, since the first look.
            self._live_keys |= self._live.pending() & missing.keys()
            self._follow()
        for key in self._nowhere(missing):
            self.findings.missing.note(f"row {missing[key]} of {source}, key {key}")

    def _nowhere(self, keys: Collection[str]) -> list[str]:
        """Return in their order those of these keys that are neither in the files nor live."""
        ended = self.results.select(keys) | self.rejects.select(keys)
        places = (ended, self._live_keys, self._stuck_keys)
        return [key for key in keys if not any(key in place for place in places)]

    def _follow(self) -> None:
        self.rejects.follow()
        self.results.follow()

    def _note_damage(self, damage: RunError) -> None:
        self.findings.damaged.note(damage)
