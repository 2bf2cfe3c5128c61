"""
Reading an append-only JSONL file of a run once, front to back, on from where the last look ended.

What is made of its lines is kept beside the file (see `snapshot`), so that the next process need not
read them again.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

import msgspec

from contextvqa.errors import PATH_ERRNOS, RunError, SinkError
from contextvqa.storage import snapshot
from contextvqa.storage.snapshot import TAIL_BYTES, Place

#: Bytes read at once when following a file; more for a longer line.
CHUNK_BYTES = 1 << 22
#: Bytes that must be new for another snapshot, and their least share of all: reading fewer again
#: takes a fraction of a second, and so all snapshots of a file cost little beside its lines.
SAVE_BYTES = 1 << 26
SAVE_SHARE = 0.1

#: Called while a file is read, with the bytes read so far and those that there are.
OnRead = Callable[[int, int], None]


class Contents(snapshot.Contents, Protocol):
    """What a follower makes of lines."""

    def read(self, line: bytes) -> Any:
        """
        Return what is to be noted of a line.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, msgspec.MsgspecError: It is no record.

        """

    def note(self, entries: Sequence[Any]) -> None:
        """Note what `read` returned of lines that follow one another."""


C = TypeVar("C", bound=Contents)


class Follower(Generic[C]):
    """
    One file, read on from where the last look ended.

    A file that was replaced, cut or edited since the last look is read anew.

    Args:
        begin: Returns the contents of no lines.
        on_damaged: Called with each whole line that is no record; reading goes on when it returns.
            Every line is read then, and no snapshot is believed. By default it raises.

    """

    def __init__(
        self,
        path: Path,
        begin: Callable[[], C],
        on_damaged: Callable[[RunError], None] | None = None,
    ) -> None:
        self.path = path
        self.contents = begin()
        #: Whole lines that are no records.
        self.num_damaged = 0
        self._begin_contents = begin
        self._reads_all = on_damaged is not None
        self._on_damaged = on_damaged or _raise
        self._snapshot_path = snapshot.path_of(path, self.contents.what)
        self._place = Place()
        self._trusts_snapshot = True
        self._saved_offset = 0

    @property
    def offset(self) -> int:
        """Bytes of whole lines read so far."""
        return self._place.offset

    @property
    def num_lines(self) -> int:
        """Whole lines read so far, damaged ones included."""
        return self._place.num_lines

    def follow(
        self,
        *,
        end: int | None = None,
        is_locked: bool = False,
        on_read: OnRead = lambda _, __: None,
    ) -> None:
        """
        Read the whole lines that were appended since; an unfinished last line waits.

        Args:
            end: Read no byte from there on. Default: all that is there.
            is_locked: The caller holds the file's lock.
            on_read: Told how far it has come.

        Raises:
            RunError: A whole line is no record, or the file may not be read. Names the line.
            SinkError: The device does not let us read.

        """
        try:
            with self.path.open("rb") as file:
                if not (self._reads_all or self._place.is_of(file)):
                    self._begin(file)
                    if not is_locked:
                        self._read_durable(file, end, on_read)
                for _ in self._read(file, end):
                    on_read(self.offset, _end_of(file, end))
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(f"cannot read {self.path}", error) from error

    def forget(self) -> None:
        """Read every line anew with the next look, and believe no snapshot then."""
        self._place = Place()
        self._trusts_snapshot = False

    def add(self, data: bytes) -> None:
        """
        Note whole lines that stand at `offset`.

        Raises:
            RunError: One of them is no record; those before it are noted.

        """
        place = self._place
        begin = place.offset
        entries: list[Any] = []
        try:
            for line in data.splitlines(keepends=True):
                try:
                    entries.append(self.contents.read(line))
                except (
                    *(ValueError, TypeError, KeyError, AttributeError),
                    msgspec.MsgspecError,
                ) as error:
                    self._note_damage(error)
                place.offset += len(line)
                place.num_lines += 1
        finally:
            self.contents.note(entries)
            noted = data[: place.offset - begin]
            place.tail = (place.tail + noted[-TAIL_BYTES:])[-TAIL_BYTES:]

    def save(self) -> None:
        """
        Write a snapshot if enough is new; one that cannot be written is done without.

        The caller holds the file's lock, and all that was read is durable.
        """
        if not self._is_due(self.offset):
            return
        path = self._snapshot_path
        # Another process may have come first. What we could not load ourselves is not asked.
        others = 0
        if self._saved_offset:
            others = snapshot.offset_of(path, self.contents, self._place.inode)
        if others <= self.offset:
            self._saved_offset = max(self._saved_offset, others)
        if self._is_due(self.offset):
            # Also where it fails: not with every batch again.
            self._saved_offset = self.offset
            with contextlib.suppress(OSError):
                snapshot.save(self.contents, self._place, path)

    def _begin(self, file: BinaryIO) -> None:
        """Forget what was read of another file; know what this one's snapshot knows."""
        inode = os.fstat(file.fileno()).st_ino
        self.contents = self._begin_contents()
        known = None
        if self._trusts_snapshot:
            known = snapshot.load(self._snapshot_path, file, self.contents)
        self._place = known or Place(inode=inode)
        self._trusts_snapshot = True
        self._saved_offset = self.offset

    def _read_durable(self, file: BinaryIO, end: int | None, on_read: OnRead) -> None:
        """
        Read up to where a snapshot may reach, and write one, if it is due and the lock can be had.

        Never later: what was read without the lock may have been in a batch that a failing disk
        took back, and a snapshot would keep that alive.
        """
        if not self._is_due(os.fstat(file.fileno()).st_size):
            return
        durable = snapshot.durable_bytes(self.path)
        for _ in self._read(file, durable if end is None else min(durable, end)):
            on_read(self.offset, _end_of(file, end))
            # Whoever has not the patience for all of a long file finds half of it done; and all
            # snapshots on the way are no larger than the last.
            if self.offset >= 2 * max(SAVE_BYTES, self._saved_offset):
                self._save_unlocked()
        self._save_unlocked()

    def _save_unlocked(self) -> None:
        with snapshot.held(self.path) as locked:
            # Whatever was put in the file's place meanwhile is not what we have read.
            if locked is not None and self._place.is_of(locked):
                self.save()

    def _is_due(self, offset: int) -> bool:
        return offset - self._saved_offset >= max(SAVE_BYTES, SAVE_SHARE * self._saved_offset)

    def _read(self, file: BinaryIO, end: int | None) -> Iterator[None]:
        """Note the whole lines of a file up to *end*, or to its own end; stop after each chunk."""
        size = CHUNK_BYTES
        while True:
            file.seek(self.offset)
            wanted = size if end is None else min(size, max(0, end - self.offset))
            chunk = file.read(wanted)
            lines = chunk[: chunk.rfind(b"\n") + 1]
            self.add(lines)
            if lines:
                yield
            elif len(chunk) < size:
                break
            else:
                size *= 2

    def _note_damage(self, error: Exception) -> None:
        damage = RunError(
            f"{self.path}, line {self.num_lines + 1} (byte {self.offset}) is no record of this "
            f"pipeline ({type(error).__name__}: {error}); repair or remove that line."
        )
        self._on_damaged(damage)
        self.num_damaged += 1


def failure(what: str, error: OSError) -> RunError | SinkError:
    """Return what the system's refusal means: one run's own files, or the device under all."""
    if error.errno in PATH_ERRNOS:
        return RunError(
            f"{what}: {error.strerror}; the run's files must be there, and this user must have "
            "the right to read and write them."
        )
    return SinkError(
        f"{what}: {error.strerror}; nothing is lost: mend the disk or mount, and start again."
    )


def _end_of(file: BinaryIO, end: int | None) -> int:
    return os.fstat(file.fileno()).st_size if end is None else end


def _raise(damage: RunError) -> None:
    raise damage
