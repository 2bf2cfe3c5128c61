"""The keys in one JSONL file of a run, and at which attempt each of them got its line."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from struct import Struct
from typing import ClassVar

import orjson

from contextvqa.errors import RunError
from contextvqa.storage.follower import Follower
from contextvqa.storage.key_set import KEY_BYTES, KeySet, Segment, split_keys
from contextvqa.storage.snapshot import Part

_ATTEMPT = Struct(f"<{KEY_BYTES}sQ")


class Keys:
    """The keys of a file's lines, with their last attempts."""

    what: ClassVar[str] = "index"
    version: ClassVar[int] = 2

    def __init__(self) -> None:
        self.keys = KeySet()
        #: Last attempts other than the first.
        self.attempts: dict[bytes, int] = {}
        #: Keys with more than one line.
        self.repeated: set[bytes] = set()

    def read(self, line: bytes) -> tuple[bytes, int]:
        """Return the key and the attempt of a line, as `entry_of`."""
        return entry_of(line)

    def note(self, entries: Sequence[tuple[bytes, int]]) -> None:
        """Note keys and attempts."""
        keys = {key for key, _ in entries}
        known = self.keys.select(keys)
        self.keys.update(keys - known)
        for key, attempt in entries:
            if key in known:
                self.repeated.add(key)
            known.add(key)
            last = max(attempt, self.attempts.get(key, 1))
            if last > 1:
                self.attempts[key] = last

    def parts(self) -> list[Part]:
        """Return attempts that are not 1 with their keys, keys with several lines, all segments."""
        attempts = b"".join(map(_ATTEMPT.pack, self.attempts.keys(), self.attempts.values()))
        segments = [segment.data for segment in self.keys.segments()]
        return [attempts, b"".join(self.repeated), *segments]

    def restore(self, parts: Sequence[bytes]) -> None:
        """Become what returned these parts."""
        packed, repeated, *segments = parts
        attempts = dict(_ATTEMPT.iter_unpack(packed))
        self.keys, self.attempts = KeySet(map(Segment, segments)), attempts
        self.repeated = set(split_keys(repeated))


class KeyIndex(Follower[Keys]):
    """
    The keys in one file with their last attempts, read on from where the last look ended.

    Takes 17 bytes a key in the long run, and 140 more for one with several lines or a later attempt.

    Args:
        on_damaged: As of `Follower`.

    """

    def __init__(self, path: Path, on_damaged: Callable[[RunError], None] | None = None) -> None:
        super().__init__(path, Keys, on_damaged)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self.contents.keys

    def __len__(self) -> int:
        return len(self.contents.keys)

    @property
    def repeated(self) -> set[bytes]:
        """Keys with more than one line."""
        return self.contents.repeated

    def attempt(self, key: str) -> int:
        """Return the last attempt that a key has a line of, 0 where it has none."""
        name = bytes.fromhex(key)
        return self.contents.attempts.get(name) or int(name in self.contents.keys)

    def select(self, keys: Collection[str]) -> set[str]:
        """Return those of these keys that have a line; cheapest for hundreds at once."""
        names = dict(zip(split_keys(bytes.fromhex("".join(keys))), keys, strict=True))
        return set(map(names.__getitem__, self.contents.keys.select(names)))

    def count_outside(self, other: "KeyIndex") -> int:
        """Return how many keys are here and not in another file."""
        return self.contents.keys.count_outside(other.contents.keys)


def entry_of(line: bytes) -> tuple[bytes, int]:
    """
    Return the key and the attempt of a line; a line that names no attempt is of the first.

    Raises:
        ValueError: It is no JSON. TypeError, KeyError, AttributeError: it is no record.

    """
    fields = orjson.loads(line)
    meta = fields["meta"]
    key = bytes.fromhex(meta["key"])
    if len(key) != KEY_BYTES:
        raise ValueError(f"its key is {meta['key']!r}")
    attempt = fields.get("attempts", meta.get("attempt", 1))
    if type(attempt) is not int or attempt < 1:
        raise ValueError(f"its attempt is {attempt!r}")
    return key, attempt
