"""The rejects of a run that count: of each key without a result, the line of its last attempt."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from contextvqa.errors import RejectError, RunError
from contextvqa.key_index import KeyIndex, entry_of
from contextvqa.records import ImageRecord, from_payload
from contextvqa.run_directory import RunDirectory

KEY = re.compile(r"[0-9a-f]{32}")

#: A rejects line, decoded.
RejectLine = dict[str, Any]


class Rejects:
    """The rejects of one run as of the last `follow`; iterating streams their lines."""

    def __init__(self, directory: RunDirectory) -> None:
        self.run = directory.run
        self.results = KeyIndex(directory.results_path)
        self.rejects = KeyIndex(directory.rejects_path)

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
        if not self.rejects.num_lines:
            return
        with self.rejects.path.open("rb") as file:
            while file.tell() < self.rejects.offset:
                line = file.readline()
                key, attempt = entry_of(line)
                if self.counts_at(key.hex(), attempt):
                    yield orjson.loads(line)

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
        meta = line["meta"]
        payload = {
            **{name: line.get(name) for name in ("id", "image")},
            **{name: meta.get(name) for name in ("key", "prompt_digest", "prompt")},
            "run": self.run,
            "attempt": self.rejects.attempt(meta["key"]) + 1,
        }
        try:
            return from_payload(payload, ImageRecord)
        except RejectError as error:
            raise RunError(
                f"{self.rejects.path}: the line of key {meta['key']} is no reject of this version "
                f"({error}); repair or remove it."
            ) from error
