"""The rejects of a run that count: of each key without a result, the line of its last attempt."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from contextvqa.errors import RejectError, RunError
from contextvqa.records import ImageRecord, record_of_line
from contextvqa.storage.key_index import KeyIndex, entry_of
from contextvqa.storage.run_directory import RunDirectory

KEY = re.compile(r"[0-9a-f]{32}")

#: A rejects line, decoded.
RejectLine = dict[str, Any]


class Rejects:
    """
    The rejects of one run as of the last `follow`; iterating streams their lines.

    Args:
        on_damaged: As of a KeyIndex: with it no snapshot is believed, and none is left.

    """

    def __init__(
        self, directory: RunDirectory, on_damaged: Callable[[RunError], None] | None = None
    ) -> None:
        self.run = directory.run
        self.results = KeyIndex(directory.results_path, on_damaged)
        self.rejects = KeyIndex(directory.rejects_path, on_damaged)

    def follow(self) -> None:
        """
        Read what was appended to both files since.

        Raises:
            RunError: A line is damaged.

        """
        # In this order: a success that comes late is seen.
        self.rejects.follow()
        self.results.follow()

    def __iter__(self) -> Iterator[RejectLine]:
        return map(orjson.loads, self.lines())

    def lines(self) -> Iterator[bytes]:
        """Stream the same lines as they stand in the file."""
        if not self.rejects.num_lines:
            return
        with self.rejects.path.open("rb") as file:
            while file.tell() < self.rejects.offset:
                line = file.readline()
                key, attempt = entry_of(line)
                if self.counts_at(key.hex(), attempt):
                    yield line

    @property
    def num_counting(self) -> int:
        """How many keys were rejected and have no result."""
        return self.rejects.count_outside(self.results)

    def counts(self, key: str) -> bool:
        """Whether a key was rejected and has no result."""
        return self.knows(key) and key not in self.results

    def counts_at(self, key: str, attempt: int) -> bool:
        """Whether the line of this attempt is the one that counts for a key."""
        return attempt == self.rejects.attempt(key) and key not in self.results

    def count_reasons(self) -> Counter[str]:
        """Count the rejects by reason."""
        return Counter(str(line.get("reason")) for line in self)

    def knows(self, key: str) -> bool:
        """Whether a record of this key was rejected or accepted."""
        return bool(KEY.fullmatch(key)) and (key in self.rejects or key in self.results)

    def next_attempt(self, line: RejectLine) -> ImageRecord:
        """
        Return the record of a reject as it is tried again.

        Raises:
            RunError: The line lacks what makes a record.

        """
        key = line["meta"]["key"]
        try:
            return record_of_line(line, run=self.run, attempt=self.rejects.attempt(key) + 1)
        except RejectError as error:
            raise RunError(
                f"{self.rejects.path}: the line of key {key} is no reject of this version "
                f"({error}); repair or remove it."
            ) from error
