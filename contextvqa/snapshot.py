"""
What an index knew of a file, kept beside it so that the next process need not read it all again.

    .results.jsonl.index    one line of JSON (`_Header`), the segments of its keys, attempts that are
                            not 1 with their keys, keys with several lines, a digest of it all

It is a cache. Whoever finds none, or one that is damaged, of another version or of another file,
reads the file. It is replaced by rename and read whole, never mapped: hosts that share a network
file system may replace it at any time under one another.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Annotated, BinaryIO

import msgspec

from contextvqa.key_set import KEY_BYTES, KeySet, Segment, split_keys

#: Counts with each change of the format.
VERSION = 1
#: What the end of the part that was read is recognized by. More than one line.
TAIL_BYTES = 4096

#: Bytes of the digest at the end.
_DIGEST_BYTES = 32
#: Else a damaged header could make us read backwards.
Count = Annotated[int, msgspec.Meta(ge=0)]
_ATTEMPT = Struct(f"<{KEY_BYTES}sQ")


@dataclass(kw_only=True, slots=True)
class Contents:
    """What is known of a file whose first `offset` bytes were read."""

    #: Tells the file from one that was put in its place; 0 before the first look.
    inode: int = 0
    offset: int = 0
    num_lines: int = 0
    #: The last bytes before `offset`.
    tail: bytes = b""
    keys: KeySet = field(default_factory=KeySet)
    #: Last attempts other than the first.
    attempts: dict[bytes, int] = field(default_factory=dict)
    #: Keys with more than one line.
    repeated: set[bytes] = field(default_factory=set)

    def is_of(self, file: BinaryIO) -> bool:
        """Whether this file is the one that was read, and has not been cut or edited since."""
        is_same = os.fstat(file.fileno()).st_ino == self.inode
        return is_same and read_tail(file, self.offset) == self.tail


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    version: int
    inode: Count
    offset: Count
    num_lines: Count
    tail_digest: str
    #: Keys in each segment.
    segments: tuple[Count, ...]
    num_attempts: Count
    num_repeated: Count

    @property
    def part_sizes(self) -> list[int]:
        """Bytes of what follows it, but for the digest."""
        sizes = [num_keys * KEY_BYTES for num_keys in (*self.segments, self.num_repeated)]
        sizes.insert(-1, self.num_attempts * _ATTEMPT.size)
        return sizes


def path_of(path: Path) -> Path:
    """Return where the snapshot of a file lies."""
    return path.with_name(f".{path.name}.index")


def read_tail(file: BinaryIO, offset: int) -> bytes:
    """Return the last bytes of a file before an offset; fewer where it ends sooner."""
    begin = max(0, offset - TAIL_BYTES)
    return os.pread(file.fileno(), offset - begin, begin)


def load(path: Path, file: BinaryIO) -> Contents | None:
    """
    Return what the snapshot at *path* knows of an open file; None where it is not of that file.

    Raises:
        OSError: The file itself cannot be read.

    """
    try:
        header, (*segments, attempts, repeated) = _read(path)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    tail = read_tail(file, header.offset)
    if os.fstat(file.fileno()).st_ino != header.inode or _tail_digest(tail) != header.tail_digest:
        return None
    return Contents(
        inode=header.inode,
        offset=header.offset,
        num_lines=header.num_lines,
        tail=tail,
        keys=KeySet(map(Segment, segments)),
        attempts=dict(_ATTEMPT.iter_unpack(attempts)),
        repeated=set(split_keys(repeated)),
    )


def offset_of(path: Path, inode: int) -> int:
    """Return how far the snapshot at *path* says that it covers a file; 0 where there is none."""
    try:
        with path.open("rb") as snapshot:
            header = _decode(snapshot.readline())
    except (OSError, ValueError, msgspec.MsgspecError):
        return 0
    return header.offset if header.inode == inode else 0


def save(contents: Contents, path: Path) -> None:
    """
    Replace the snapshot at *path* in one step.

    The caller holds the lock of the file that it is of, which keeps two from writing at once, and
    knows that nobody can take back any more what the contents were read from.

    Raises:
        OSError: It cannot be written; the old one stays.

    """
    partial = path.with_name(f"{path.name}.part")
    digest = blake2b(digest_size=_DIGEST_BYTES)
    try:
        with partial.open("wb") as snapshot:
            for part in _parts(contents):
                digest.update(part)
                snapshot.write(part)
            snapshot.write(digest.digest())
            snapshot.flush()
            os.fsync(snapshot.fileno())
        partial.replace(path)
    except OSError:
        # On a full disk results need the room.
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def held(path: Path) -> Iterator[BinaryIO | None]:
    """Hold a file's lock if it is free and the file may be written, else give None."""
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("r+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file = None
        yield file


def durable_bytes(path: Path) -> int:
    """
    Return how much of a file no writer can take back any more; 0 where that cannot be known.

    Writers append and then sync or take back in one hold of the lock. What is there while we have
    it is what they keep, once it is synced: one of them may have died before it came to that.
    """
    with held(path) as file:
        if file is None:
            return 0
        try:
            os.fsync(file.fileno())
        except OSError:
            return 0
        return os.fstat(file.fileno()).st_size


def _read(path: Path) -> tuple[_Header, list[bytes]]:
    """
    Return a snapshot's header, and its segments, attempts and repeated keys.

    Raises:
        OSError: There is none, or it cannot be read. ValueError, msgspec.MsgspecError: it is none
            of this version, or damaged.

    """
    digest = blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as snapshot:
        line = snapshot.readline()
        header = _decode(line)
        size = os.fstat(snapshot.fileno()).st_size
        # Before anything of the sizes that it names is read.
        if size != len(line) + sum(header.part_sizes) + _DIGEST_BYTES:
            raise ValueError("it is not of the size that it says")
        parts = [snapshot.read(part_bytes) for part_bytes in header.part_sizes]
        for part in (line, *parts):
            digest.update(part)
        if snapshot.read() != digest.digest():
            raise ValueError("its digest is another one")
    return header, parts


def _decode(line: bytes) -> _Header:
    header = msgspec.json.decode(line, type=_Header)
    if header.version != VERSION:
        raise ValueError(f"it is of version {header.version}")
    return header


def _parts(contents: Contents) -> Iterator[bytes | bytearray]:
    """Return the pieces of a snapshot but its digest."""
    segments = contents.keys.segments()
    header = _Header(
        version=VERSION,
        inode=contents.inode,
        offset=contents.offset,
        num_lines=contents.num_lines,
        tail_digest=_tail_digest(contents.tail),
        segments=tuple(map(len, segments)),
        num_attempts=len(contents.attempts),
        num_repeated=len(contents.repeated),
    )
    yield msgspec.json.encode(header) + b"\n"
    for segment in segments:
        yield segment.data
    yield b"".join(map(_ATTEMPT.pack, contents.attempts.keys(), contents.attempts.values()))
    yield b"".join(contents.repeated)


def _tail_digest(tail: bytes) -> str:
    return blake2b(tail, digest_size=_DIGEST_BYTES).hexdigest()
