"""
The append-only sink: results.jsonl and rejects.jsonl of one run.

Several refiners, on one host or several, append to the same two files. Every append happens under
their locks, in one write per file, and is durable when it returns. A key gets one results line ever,
and a rejects line only for an attempt later than its last: the index of keys follows the files, so
that also a refiner that was asleep while its jobs were given away finds what others wrote.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contextvqa.errors import RunError
from contextvqa.storage.durable_file import DurableFile, OnSync
from contextvqa.storage.follower import failure
from contextvqa.storage.key_index import entry_of
from contextvqa.storage.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line to append."""

    key: str
    #: Whole, newline included.
    data: bytes
    is_result: bool

    @property
    def attempt(self) -> int:
        """The attempt it tells of, as its readers will find it."""
        return entry_of(self.data)[1]


class Sink:
    """
    Appends to the two files of one run. One per process and run; not thread-safe.

    Raises:
        RunError: There is no such run here, or its files cannot be opened.
        SinkError: The device under them fails.

    """

    def __init__(self, directory: RunDirectory, on_sync: OnSync = lambda _: None) -> None:
        _check_exists(directory)
        with contextlib.ExitStack() as opened:
            self._results = DurableFile(directory.results_path, on_sync)
            opened.callback(self._results.close)
            self._rejects = DurableFile(directory.rejects_path, on_sync)
            opened.callback(self._rejects.close)
            _sync_directory(directory.path)
            opened.pop_all()

    def append(self, lines: Sequence[Line]) -> int:
        """
        Append the lines that are new, durably: what this returns from survives a crash.

        A key with a result is refused whatever the line. A key with rejects takes a result, since
        a late success beats a failure, and a reject of a later attempt.

        Returns:
            How many lines were new. The others were there, and are durable now too.

        Raises:
            RunError: A file is damaged, or is not the one any more that was opened.
            SinkError: They could not all be written. The process must end: after a failed fsync
                nobody knows what the disk holds.
                Either way nothing of this batch may be acknowledged; what reached the disk of it
                is found again by key.

        """
        with self._locked():
            results = self._new_results(lines)
            self._results.append([line.data for line in results])
            rejects = self._new_rejects(lines)
            self._rejects.append([line.data for line in rejects])
            num_new = len(results) + len(rejects)
            if num_new < len(lines):
                # Whoever wrote those may have died before the fsync.
                self._results.sync()
                self._rejects.sync()
        return num_new

    def close(self) -> None:
        """Release the files."""
        self._results.close()
        self._rejects.close()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold both locks, in one order, with both files whole and both indexes up to date."""
        with self._results.locked(), self._rejects.locked():
            self._results.catch_up()
            self._rejects.catch_up()
            yield

    def _new_results(self, lines: Sequence[Line]) -> list[Line]:
        """Choose the results whose keys have none, the first of each key."""
        chosen = {
            line.key: line
            for line in reversed(lines)
            if line.is_result and line.key not in self._results.index
        }
        return list(reversed(chosen.values()))

    def _new_rejects(self, lines: Sequence[Line]) -> list[Line]:
        """Choose the rejects of later attempts than their keys' last; none of a key that ended."""
        last: dict[str, int] = {}
        chosen = []
        for line in lines:
            if line.is_result or line.key in self._results.index:
                continue
            attempt = line.attempt
            if attempt > last.get(line.key, self._rejects.index.attempt(line.key)):
                last[line.key] = attempt
                chosen.append(line)
        return chosen


def _check_exists(directory: RunDirectory) -> None:
    try:
        exists = directory.exists()
    except OSError as error:
        raise failure(f"cannot look at {directory.config_path}", error) from error
    if not exists:
        raise RunError(
            f"there is no run {directory.run!r} in {directory.path.parent}; a refiner needs "
            "the --runs-dir that the run was enqueued with."
        )


def _sync_directory(path: Path) -> None:
    """Make new files' names durable too, without which their bytes would be lost."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failure(f"cannot sync {path}", error) from error
