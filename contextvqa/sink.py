"""
The append-only sink: results.jsonl and rejects.jsonl of one run.

Several refiners, on one host or several, append to the same two files. Every append happens under
one lock, in one write per file, and is durable when it returns. A key gets one results line ever:
the index of keys follows the files, so that also a refiner that was asleep while its jobs were
given away finds what others wrote.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from contextvqa.errors import SinkError
from contextvqa.run_directory import RunDirectory

#: Bytes read at once when following a file; more for a longer line.
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line to append."""

    key: str
    #: Whole, newline included.
    data: bytes
    is_result: bool


class KeyIndex:
    """The keys in one JSONL file, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Bytes of whole lines read so far.
        self.offset = 0
        self.num_lines = 0
        self._keys: set[bytes] = set()

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def count_outside(self, other: "KeyIndex") -> int:
        """Return how many keys are here and not in another file."""
        return len(self._keys - other._keys)  # noqa: SLF001 - our own kind

    def follow(self) -> None:
        """
        Read the whole lines that were appended since; an unfinished last line waits.

        Raises:
            SinkError: A whole line is no record. Names the line.

        """
        try:
            with self.path.open("rb") as file:
                size = CHUNK_BYTES
                while True:
                    file.seek(self.offset)
                    chunk = file.read(size)
                    if self._read_lines(chunk):
                        continue
                    if len(chunk) < size:
                        break
                    size *= 2
        except FileNotFoundError:
            return
        except OSError as error:
            raise SinkError(f"cannot read {self.path}: {error.strerror}.") from error

    def add(self, key: str, num_bytes: int) -> None:
        """Note a line that was just appended at `offset`."""
        self._keys.add(bytes.fromhex(key))
        self.offset += num_bytes
        self.num_lines += 1

    def _read_lines(self, chunk: bytes) -> bool:
        end = chunk.rfind(b"\n") + 1
        for line in chunk[:end].splitlines(keepends=True):
            self.add(self._key_of(line), len(line))
        return end > 0

    def _key_of(self, line: bytes) -> str:
        try:
            key: str = orjson.loads(line)["meta"]["key"]
            bytes.fromhex(key)
        except (ValueError, TypeError, KeyError) as error:
            raise SinkError(
                f"{self.path}, line {self.num_lines + 1} (byte {self.offset}) is no record of this "
                f"pipeline ({type(error).__name__}: {error}); repair or remove that line."
            ) from error
        return key


class Sink:
    """Appends to the two files of one run. One per process and run; not thread-safe."""

    def __init__(self, directory: RunDirectory) -> None:
        if not directory.exists():
            raise SinkError(
                f"there is no run {directory.run!r} in {directory.path.parent}; a refiner needs "
                "the --runs-dir that the run was enqueued with."
            )
        self.results = KeyIndex(directory.results_path)
        self.rejects = KeyIndex(directory.rejects_path)
        self._results_fd = _open(directory.results_path)
        self._rejects_fd = _open(directory.rejects_path)
        _sync_directory(directory.path)

    def append(self, lines: Sequence[Line]) -> int:
        """
        Append the lines whose keys are new, durably: what this returns from survives a crash.

        A key with a result is refused whatever the line; a key with a reject only another reject,
        since a late success beats a failure.

        Returns:
            How many lines were new.

        Raises:
            SinkError: They could not all be written, or a file is damaged. Nothing of this batch
                may be acknowledged; what reached the disk of it is found again by key.

        """
        with self._locked():
            results = self._new(lines, self.results, is_result=True)
            rejects = self._new(lines, self.rejects, is_result=False)
            self._write(self._results_fd, self.results, results)
            self._write(self._rejects_fd, self.rejects, rejects)
        return len(results) + len(rejects)

    def close(self) -> None:
        """Release the files."""
        os.close(self._results_fd)
        os.close(self._rejects_fd)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the run's lock with both files whole and both indexes up to date."""
        try:
            fcntl.flock(self._results_fd, fcntl.LOCK_EX)
        except OSError as error:
            raise SinkError(f"cannot lock {self.results.path}: {error.strerror}.") from error
        try:
            for index, descriptor in (
                (self.results, self._results_fd),
                (self.rejects, self._rejects_fd),
            ):
                _check_identity(descriptor, index)
                index.follow()
                _cut_torn_tail(descriptor, index)
            yield
        finally:
            fcntl.flock(self._results_fd, fcntl.LOCK_UN)

    def _new(self, lines: Sequence[Line], index: KeyIndex, *, is_result: bool) -> list[Line]:
        """Choose the lines for one file, the first of each key."""
        chosen = {
            line.key: line
            for line in reversed(lines)
            if line.is_result == is_result
            and line.key not in index
            and line.key not in self.results
        }
        return list(reversed(chosen.values()))

    def _write(self, descriptor: int, index: KeyIndex, lines: Sequence[Line]) -> None:
        if not lines:
            return
        data = b"".join(line.data for line in lines)
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                # A short write is how a full disk first shows.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            os.fsync(descriptor)
        except OSError as error:
            # What was never acknowledged must not stay: it may not survive the next crash.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, index.offset)
            raise SinkError(
                f"cannot write {len(data)} bytes to {index.path}: {error.strerror}; nothing is "
                "lost: make room for it and start again."
            ) from error
        for line in lines:
            index.add(line.key, len(line.data))


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SinkError(f"cannot open {path}: {error.strerror}.") from error


def _sync_directory(path: Path) -> None:
    """Make new files' names durable too, without which their bytes would be lost."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SinkError(f"cannot sync {path}: {error.strerror}.") from error


def _check_identity(descriptor: int, index: KeyIndex) -> None:
    """Refuse to write where nobody would read: somebody removed, replaced or cut the open file."""
    try:
        ours, there = os.fstat(descriptor), index.path.stat()
        is_sound = os.path.samestat(ours, there) and ours.st_size >= index.offset
    except FileNotFoundError:
        is_sound = False
    except OSError as error:
        raise SinkError(f"cannot look at {index.path}: {error.strerror}.") from error
    if not is_sound:
        raise SinkError(
            f"{index.path} was removed, replaced or cut while it was in use; start again, and edit "
            "it only while nothing runs."
        )


def _cut_torn_tail(descriptor: int, index: KeyIndex) -> None:
    """Cut what a crash left of an unfinished write: it was never acknowledged."""
    try:
        if os.fstat(descriptor).st_size > index.offset:
            os.ftruncate(descriptor, index.offset)
    except OSError as error:
        raise SinkError(f"cannot repair {index.path}: {error.strerror}.") from error
