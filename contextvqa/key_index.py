"""
The keys in one JSONL file of a run, and at which attempt each of them got its line.

Every file is read once, front to back; each further look reads what was appended since. What was
read is kept beside the file (see `snapshot`), so that the next process need not read it again.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from contextvqa import snapshot
from contextvqa.errors import RunError, SinkError
from contextvqa.key_set import KEY_BYTES, split_keys
from contextvqa.snapshot import TAIL_BYTES, Contents

#: Bytes read at once when following a file; more for a longer line.
CHUNK_BYTES = 1 << 22
#: Bytes that must be new for another snapshot, and their least share of all: reading fewer again
#: takes a fraction of a second, and so all snapshots of a file cost little beside its lines.
SAVE_BYTES = 1 << 26
SAVE_SHARE = 0.1

#: What the operating system says when one run's own files are at fault, not what they lie on.
RUN_ERRNOS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
)


class KeyIndex:
    """
    The keys in one file with their last attempts, read on from where the last look ended.

    Takes 17 bytes a key in the long run, and 140 more for one with several lines or a later attempt.
    A file that was replaced, cut or edited since the last look is read anew.

    Args:
        on_damaged: Called with each whole line that is no record; reading goes on when it returns.
            Every line is read then, and no snapshot is believed. By default it raises.

    """

    def __init__(self, path: Path, on_damaged: Callable[[RunError], None] | None = None) -> None:
        self.path = path
        #: Whole lines that are no records.
        self.num_damaged = 0
        self._reads_all = on_damaged is not None
        self._on_damaged = on_damaged or _raise
        self._contents = Contents()
        self._saved_offset = 0

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._contents.keys

    def __len__(self) -> int:
        return len(self._contents.keys)

    @property
    def offset(self) -> int:
        """Bytes of whole lines read so far."""
        return self._contents.offset

    @property
    def num_lines(self) -> int:
        """Whole lines read so far, damaged ones included."""
        return self._contents.num_lines

    @property
    def repeated(self) -> set[bytes]:
        """Keys with more than one line."""
        return self._contents.repeated

    def attempt(self, key: str) -> int:
        """Return the last attempt that a key has a line of, 0 where it has none."""
        name = bytes.fromhex(key)
        return self._contents.attempts.get(name) or int(name in self._contents.keys)

    def select(self, keys: Collection[str]) -> set[str]:
        """Return those of these keys that have a line; cheapest for hundreds at once."""
        names = dict(zip(split_keys(bytes.fromhex("".join(keys))), keys, strict=True))
        return set(map(names.__getitem__, self._contents.keys.select(names)))

    def count_outside(self, other: "KeyIndex") -> int:
        """Return how many keys are here and not in another file."""
        return self._contents.keys.count_outside(other._contents.keys)  # noqa: SLF001 - our own kind

    def follow(self, *, is_locked: bool = False) -> None:
        """
        Read the whole lines that were appended since; an unfinished last line waits.

        Args:
            is_locked: The caller holds the file's lock.

        Raises:
            RunError: A whole line is no record, or the file may not be read. Names the line.
            SinkError: The device does not let us read.

        """
        try:
            with self.path.open("rb") as file:
                if not (self._reads_all or self._contents.is_of(file)):
                    self._begin(file)
                    if not is_locked:
                        self._read_durable(file)
                self._read(file)
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(f"cannot read {self.path}", error) from error

    def add(self, data: bytes) -> None:
        """
        Note whole lines that stand at `offset`.

        Raises:
            RunError: One of them is no record; those before it are noted.

        """
        contents = self._contents
        begin = contents.offset
        entries: list[tuple[bytes, int]] = []
        try:
            for line in data.splitlines(keepends=True):
                try:
                    entries.append(entry_of(line))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    self._note_damage(error)
                contents.offset += len(line)
                contents.num_lines += 1
        finally:
            self._note(entries)
            noted = data[: contents.offset - begin]
            contents.tail = (contents.tail + noted[-TAIL_BYTES:])[-TAIL_BYTES:]

    def save(self) -> None:
        """
        Write a snapshot if enough is new; one that cannot be written is done without.

        The caller holds the file's lock, and all that was read is durable.
        """
        if not self._is_due(self.offset):
            return
        path = snapshot.path_of(self.path)
        # Another process may have come first. What we could not load ourselves is not asked.
        others = snapshot.offset_of(path, self._contents.inode) if self._saved_offset else 0
        if others <= self.offset:
            self._saved_offset = max(self._saved_offset, others)
        if self._is_due(self.offset):
            # Also where it fails: not with every batch again.
            self._saved_offset = self.offset
            with contextlib.suppress(OSError):
                snapshot.save(self._contents, path)

    def _begin(self, file: BinaryIO) -> None:
        """Forget what was read of another file; know what this one's snapshot knows."""
        inode = os.fstat(file.fileno()).st_ino
        known = snapshot.load(snapshot.path_of(self.path), file)
        self._contents = known or Contents(inode=inode)
        self._saved_offset = self.offset

    def _read_durable(self, file: BinaryIO) -> None:
        """
        Read up to where a snapshot may reach, and write one, if it is due and the lock is free.

        Never later: what was read without the lock may have been in a batch that a failing disk
        took back, and a snapshot would keep that alive.
        """
        if not self._is_due(os.fstat(file.fileno()).st_size):
            return
        self._read(file, snapshot.durable_bytes(self.path))
        with snapshot.held(self.path) as locked:
            # Whatever was put in the file's place meanwhile is not what we have read.
            if locked is not None and self._contents.is_of(locked):
                self.save()

    def _is_due(self, offset: int) -> bool:
        return offset - self._saved_offset >= max(SAVE_BYTES, SAVE_SHARE * self._saved_offset)

    def _read(self, file: BinaryIO, end: int | None = None) -> None:
        """Note the whole lines of a file up to *end*, or to its own end."""
        size = CHUNK_BYTES
        while True:
            file.seek(self.offset)
            wanted = size if end is None else min(size, max(0, end - self.offset))
            chunk = file.read(wanted)
            lines = chunk[: chunk.rfind(b"\n") + 1]
            self.add(lines)
            if lines:
                continue
            if len(chunk) < size:
                break
            size *= 2

    def _note_damage(self, error: Exception) -> None:
        damage = RunError(
            f"{self.path}, line {self.num_lines + 1} (byte {self.offset}) is no record of this "
            f"pipeline ({type(error).__name__}: {error}); repair or remove that line."
        )
        self._on_damaged(damage)
        self.num_damaged += 1

    def _note(self, entries: Sequence[tuple[bytes, int]]) -> None:
        contents = self._contents
        keys = {key for key, _ in entries}
        known = contents.keys.select(keys)
        contents.keys.update(keys - known)
        for key, attempt in entries:
            if key in known:
                contents.repeated.add(key)
            known.add(key)
            last = max(attempt, contents.attempts.get(key, 1))
            if last > 1:
                contents.attempts[key] = last


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


def failure(what: str, error: OSError) -> RunError | SinkError:
    """Return what the system's refusal means: one run's own files, or the device under all."""
    if error.errno in RUN_ERRNOS:
        return RunError(
            f"{what}: {error.strerror}; the run's files must be there, and this user must have "
            "the right to read and write them."
        )
    return SinkError(
        f"{what}: {error.strerror}; nothing is lost: mend the disk or mount, and start again."
    )


def _raise(damage: RunError) -> None:
    raise damage
