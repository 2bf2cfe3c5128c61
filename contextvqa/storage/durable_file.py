"""
One file that several processes append to, under a lock, and that is durable before anybody relies on it.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from contextvqa.errors import RunError, SinkError
from contextvqa.storage.follower import failure
from contextvqa.storage.key_index import KeyIndex

#: What a file system says that has no locks.
NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})

#: Called after each fsync, with the seconds that it took.
OnSync = Callable[[float], None]


class DurableFile:
    """
    A JSONL file of a run, open for appending, and the index of what is in it.

    Raises:
        RunError: It cannot be opened. SinkError: the device under it fails.

    """

    def __init__(self, path: Path, on_sync: OnSync = lambda _: None) -> None:
        self.path = path
        self._on_sync = on_sync
        self.index = KeyIndex(path)
        self._descriptor = _open(path)
        #: Bytes that this process has seen become durable.
        self._num_durable = 0
        self._lost: SinkError | None = None

    def close(self) -> None:
        """Release it."""
        os.close(self._descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other processes out that ask for the same lock."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise SinkError(
                    f"cannot lock {self.path}: its file system has no locks ({error.strerror}); "
                    "put --runs-dir on one that has them, or mount it so that it has."
                ) from error
            raise failure(f"cannot lock {self.path}", error) from error
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def catch_up(self) -> None:
        """Read what others appended; cut what a crash left of an unfinished write."""
        if self._lost:
            raise self._lost
        self._check_identity()
        self.index.follow(is_locked=True)
        try:
            if os.fstat(self._descriptor).st_size > self.index.offset:
                os.ftruncate(self._descriptor, self.index.offset)
        except OSError as error:
            raise failure(f"cannot cut the unfinished line off {self.path}", error) from error

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines and make them durable, or take them back and raise SinkError."""
        if not lines:
            return
        begin = self.index.offset
        data = b"".join(lines)
        try:
            if os.write(self._descriptor, data) < len(data):
                # A short write is how a full disk first shows.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
        except OSError as error:
            self._take_back(begin)
            raise SinkError(
                f"cannot write {len(data)} bytes to {self.path}: {error.strerror}; nothing is "
                "lost: make room for it and start again."
            ) from error
        self.index.add(data)
        try:
            self.sync()
        except SinkError:
            self._take_back(begin)
            raise
        self.index.save()

    def sync(self) -> None:
        """
        Make all that the index has seen durable, whoever wrote it.

        Raises:
            SinkError: It failed, now or before. The system forgets what it could not write and
                reports it once: another fsync would succeed and mean nothing.

        """
        if self._num_durable == self.index.offset:
            return
        began = time.monotonic()
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._lost = SinkError(
                f"cannot make {self.path} durable: {error.strerror}; what was not acknowledged is "
                "made again: mend the disk or mount, and start again."
            )
            raise self._lost from error
        self._on_sync(time.monotonic() - began)
        self._num_durable = self.index.offset

    def _take_back(self, begin: int) -> None:
        """Cut off what was never acknowledged: it may not survive the next crash."""
        try:
            os.ftruncate(self._descriptor, begin)
        except OSError as error:
            raise SinkError(
                f"cannot take back what was not fully written to {self.path}: {error.strerror}; "
                f"mend the disk or mount, then `truncate -s {begin} {self.path}`, then start again."
            ) from error

    def _check_identity(self) -> None:
        """Refuse to write where nobody would read: somebody took the open file away."""
        try:
            ours, there = os.fstat(self._descriptor), self.path.stat()
            is_sound = os.path.samestat(ours, there) and ours.st_size >= self.index.offset
        except FileNotFoundError:
            is_sound = False
        except OSError as error:
            raise failure(f"cannot look at {self.path}", error) from error
        if not is_sound:
            raise RunError(
                f"{self.path} was removed, replaced or cut while it was in use; put it back if it "
                "is elsewhere, and edit it only while nothing runs."
            )


def _open(path: Path) -> int:
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644
        )
    except OSError as error:
        raise failure(f"cannot open {path}", error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunError(f"{path} is no regular file; move it away.")
    return descriptor
