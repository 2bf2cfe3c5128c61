"""
Disks that fail: a real file system that is small or read-only, and calls that fail or end badly.

The file system is a tmpfs in a mount namespace of its own, which its holder, a child, keeps alive.
"""

import errno
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

from contextvqa.storage import durable_file
from tests import namespaces
from tests.faults.processes import Child, Patch, fork
from tests.faults.tally import Tally

MS_RDONLY, MS_REMOUNT, MS_REC, MS_PRIVATE = 1, 32, 16384, 1 << 18


class SmallDisk:
    """A file system of few bytes under `directory`, which only those see who enter it."""

    def __init__(self, directory: Path, num_bytes: int) -> None:
        self.directory = directory
        self._ready = Tally()
        directory.mkdir()
        self._holder = fork("disk", lambda: self._hold(num_bytes), directory.with_suffix(".log"))

    @property
    def seen_from_here(self) -> Path:
        """Where its files are for processes that are not inside."""
        return Path(f"/proc/{self._holder.pid}/root{self.directory}")

    def __enter__(self) -> Self:
        while not self._ready.value:
            assert self._holder.is_alive(), self._holder.words()
            time.sleep(0.002)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._holder.kill()

    def enter(self) -> None:
        """Enter it, as a patch of a child."""
        namespaces.enter(self._holder.pid, ["mnt"])

    def resize(self, num_bytes: int) -> None:
        """Make room, or take it away."""
        self._from_inside(lambda: self._mount(MS_REMOUNT, num_bytes))

    def set_read_only(self, num_bytes: int) -> None:
        """Refuse all writes; nothing may be open for writing. `resize` ends it."""
        self._from_inside(lambda: self._mount(MS_REMOUNT | MS_RDONLY, num_bytes))

    def _from_inside(self, act: Callable[[], None]) -> None:
        def run() -> int:
            act()
            return 0

        child: Child = fork("mount", run, self.directory.with_suffix(".log"), [self.enter])
        assert child.wait() == 0, child.words()

    def _hold(self, num_bytes: int) -> int:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        _mount(None, b"/", MS_REC | MS_PRIVATE, None)
        self._mount(0, num_bytes)
        self._ready.value = 1
        while True:
            signal.pause()

    def _mount(self, flags: int, num_bytes: int) -> None:
        target, options = os.fsencode(self.directory), f"size={num_bytes}".encode()
        _mount(b"tmpfs", target, flags, options)


def _mount(kind: bytes | None, target: bytes, flags: int, options: bytes | None) -> None:
    namespaces.check(namespaces.LIBC.mount(kind, target, kind, flags, options))


class _Calls:
    """`os` as the sink has it, with other functions in some places."""

    def __init__(self, **others: Callable[..., Any]) -> None:
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _with(**others: Callable[..., Any]) -> Patch:
    return mock.patch.object(durable_file, "os", _Calls(**others)).start


def fail_fsync(number: int) -> Patch:
    """Let an fsync of the sink fail as on a disk that has gone bad."""
    numbers = itertools.count()

    def fsync(descriptor: int) -> None:
        if next(numbers) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(descriptor)

    return _with(fsync=fsync)


def fail_write(number: int, code: int) -> Patch:
    """Let a write of the sink fail."""
    numbers = itertools.count()

    def write(descriptor: int, data: bytes) -> int:
        if next(numbers) == number:
            raise OSError(code, os.strerror(code))
        return os.write(descriptor, data)

    return _with(write=write)


def kill_at_disk(point: str, durable: Tally) -> Patch:
    """
    Kill the child around its first append: before it, in the middle, before or after its fsync.

    Args:
        point: One of `POINTS`.
        durable: Told how many bytes of the results an fsync has made durable.

    """

    def write(descriptor: int, data: bytes) -> int:
        if point == "before-write":
            _die()
        if point == "in-write":
            os.write(descriptor, data[: len(data) // 2])
            _die()
        return os.write(descriptor, data)

    def fsync(descriptor: int) -> None:
        if point == "before-fsync":
            _die()
        os.fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "results.jsonl":
            durable.value = os.fstat(descriptor).st_size
        if point == "after-fsync":
            _die()

    return _with(write=write, fsync=fsync)


#: "after-settle": not killed at all, so that what was acknowledged can be compared.
POINTS = ("before-write", "in-write", "before-fsync", "after-fsync", "after-settle")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
