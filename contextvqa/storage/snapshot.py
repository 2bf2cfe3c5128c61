"""
What was made of a file, kept beside it so that the next process need not read it all again.

    .results.jsonl.index    one line of JSON (`_Header`), the parts that `Contents` consists of, a
                            digest of it all

It is a cache. Whoever finds none, or one that is damaged, of another version or of another file,
reads the file. It is replaced by rename and read whole, never mapped: hosts that share a network
file system may replace it at any time under one another.
"""

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Protocol

import msgspec

#: What the end of the part that was read is recognized by. More than one line.
TAIL_BYTES = 4096

#: Seconds that a reader waits for the lock, which a busy writer holds most of the time but not for
#: long, and between two tries.
LOCK_WAIT_S = 1.0
LOCK_POLL_S = 0.01

#: Bytes of the digest at the end.
_DIGEST_BYTES = 32
#: Else a damaged header could make us read backwards.
Count = Annotated[int, msgspec.Meta(ge=0)]
Part = bytes | bytearray


class Contents(Protocol):
    """What was made of the lines of a file; empty when it is new."""

    #: Ends the name of the snapshots.
    what: ClassVar[str]
    #: Counts with each change of the format.
    version: ClassVar[int]

    def parts(self) -> Sequence[Part]:
        """Return all of it, for a snapshot."""

    def restore(self, parts: Sequence[bytes]) -> None:
        """Become what returned these parts."""


@dataclass(kw_only=True, slots=True)
class Place:
    """How far a file was read."""

    #: Tells the file from one that was put in its place; 0 before the first look.
    inode: int = 0
    #: Bytes that were read.
    offset: int = 0
    num_lines: int = 0
    #: The last bytes before `offset`.
    tail: bytes = b""

    def is_of(self, file: BinaryIO) -> bool:
        """Whether this file is the one that was read, and has not been cut or edited since."""
        is_same = os.fstat(file.fileno()).st_ino == self.inode
        return is_same and read_tail(file, self.offset) == self.tail


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    what: str
    version: int
    inode: Count
    offset: Count
    num_lines: Count
    tail_digest: str
    #: Bytes of each part.
    parts: tuple[Count, ...]


def path_of(path: Path, what: str) -> Path:
    """Return where the snapshot of what was made of a file lies."""
    return path.with_name(f".{path.name}.{what}")


def read_tail(file: BinaryIO, offset: int) -> bytes:
    """Return the last bytes of a file before an offset; fewer where it ends sooner."""
    begin = max(0, offset - TAIL_BYTES)
    return os.pread(file.fileno(), offset - begin, begin)


def load(path: Path, file: BinaryIO, contents: Contents) -> Place | None:
    """
    Restore *contents* from the snapshot at *path*, and return how far it had read the open file.

    Returns:
        None, and leaves *contents* alone, where there is no snapshot of them and of that file.

    Raises:
        OSError: The file itself cannot be read.

    """
    try:
        header, parts = _read(path, contents)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    tail = read_tail(file, header.offset)
    if os.fstat(file.fileno()).st_ino != header.inode or _digest(tail) != header.tail_digest:
        return None
    try:
        contents.restore(parts)
    except (ValueError, struct.error, msgspec.MsgspecError):
        return None
    return Place(inode=header.inode, offset=header.offset, num_lines=header.num_lines, tail=tail)


def offset_of(path: Path, contents: Contents, inode: int) -> int:
    """Return how far the snapshot at *path* says that it covers a file; 0 where there is none."""
    try:
        with path.open("rb") as snapshot:
            header = _decode(snapshot.readline(), contents)
    except (OSError, ValueError, msgspec.MsgspecError):
        return 0
    return header.offset if header.inode == inode else 0


def save(contents: Contents, place: Place, path: Path) -> None:
    """
    Replace the snapshot at *path* in one step.

    The caller holds the lock of the file that it is of, which keeps two from writing at once, and
    knows that nobody can take back any more what the contents were made of.

    Raises:
        OSError: It cannot be written; the old one stays.

    """
    partial = path.with_name(f"{path.name}.part")
    digest = blake2b(digest_size=_DIGEST_BYTES)
    parts = contents.parts()
    try:
        with partial.open("wb") as snapshot:
            for part in (_header(contents, place, parts), *parts):
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
    """Hold a file's lock if it comes free soon and the file may be written, else give None."""
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("r+b"))
            _lock(file)
        except OSError:
            file = None
        yield file


def _lock(file: BinaryIO) -> None:
    """Lock a file; raises OSError where that does not come about within LOCK_WAIT_S."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(LOCK_POLL_S)


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


def _read(path: Path, contents: Contents) -> tuple[_Header, list[bytes]]:
    """
    Return a snapshot's header and parts.

    Raises:
        OSError: There is none, or it cannot be read. ValueError, msgspec.MsgspecError: it is none
            of these contents and this version, or damaged.

    """
    digest = blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as snapshot:
        line = snapshot.readline()
        header = _decode(line, contents)
        size = os.fstat(snapshot.fileno()).st_size
        # Before anything of the sizes that it names is read.
        if size != len(line) + sum(header.parts) + _DIGEST_BYTES:
            raise ValueError("it is not of the size that it says")
        parts = [snapshot.read(part_bytes) for part_bytes in header.parts]
        for part in (line, *parts):
            digest.update(part)
        if snapshot.read() != digest.digest():
            raise ValueError("its digest is another one")
    return header, parts


def _decode(line: bytes, contents: Contents) -> _Header:
    header = msgspec.json.decode(line, type=_Header)
    if (header.what, header.version) != (contents.what, contents.version):
        raise ValueError(f"it is of {header.what} {header.version}")
    return header


def _header(contents: Contents, place: Place, parts: Iterable[Part]) -> bytes:
    header = _Header(
        what=contents.what,
        version=contents.version,
        inode=place.inode,
        offset=place.offset,
        num_lines=place.num_lines,
        tail_digest=_digest(place.tail),
        parts=tuple(map(len, parts)),
    )
    return msgspec.json.encode(header) + b"\n"


def _digest(tail: bytes) -> str:
    return blake2b(tail, digest_size=_DIGEST_BYTES).hexdigest()
