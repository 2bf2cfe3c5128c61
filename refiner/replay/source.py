"""The lines of a run that count, in order, with what an interrupted replay made of them already."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from contextvqa.errors import RunError
from contextvqa.storage.key_index import entry_of
from contextvqa.storage.rejects import Rejects
from contextvqa.storage.run_directory import RunDirectory
from refiner.replay.replaying import Item

#: Bytes of lines that a process is given at once: some hundred records, a tenth of a second.
CHUNK_BYTES = 1 << 20


class ReplaySource:
    """
    What is to be replayed of a run, as of now.

    Args:
        old: Is read and not written to, not even a snapshot of its index.
        new: Holds whole lines, of earlier replays of *old*, and nobody else writes to it.

    Raises:
        RunError: A line is damaged. Names it.

    """

    def __init__(self, old: RunDirectory, new: RunDirectory) -> None:
        self._old = old
        self._rejects = Rejects(old, on_damaged=_refuse)
        self._rejects.follow()
        self._replayed = [_Replayed(path) for path in (new.results_path, new.rejects_path)]
        self.num_records = len(self._rejects.results) + self._rejects.num_counting
        self.num_bytes = self._rejects.results.offset + self._rejects.rejects.offset

    def chunks(self) -> Iterator[list[Item]]:
        """Yield all lines that count: results, then of each key without one the last reject."""
        chunk: list[Item] = []
        num_bytes = 0
        for line in chain(self._results(), self._rejects.lines()):
            chunk.append(Item(line, self._take(line)))
            num_bytes += len(line)
            if num_bytes >= CHUNK_BYTES:
                yield chunk
                chunk, num_bytes = [], 0
        if chunk:
            yield chunk

    def _results(self) -> Iterator[bytes]:
        """Yield the first results line of each key: where there are more, somebody has meddled."""
        results = self._rejects.results
        doubled = dict.fromkeys(results.repeated, False)
        for line in _lines(self._old.results_path, results.offset):
            if doubled:
                key, _ = entry_of(line)
                if doubled.get(key):
                    continue
                if key in doubled:
                    doubled[key] = True
            yield line

    def _take(self, line: bytes) -> bytes | None:
        """Return what was made of a line; None where that is to be done."""
        if not any(replayed.key for replayed in self._replayed):
            return None
        key, _ = entry_of(line)
        for replayed in self._replayed:
            if replayed.key == key:
                return replayed.take()
        return None


class _Replayed:
    """One file of the new run: what was written first comes first."""

    def __init__(self, path: Path) -> None:
        self._lines = _lines(path, path.stat().st_size)
        self._line = b""
        #: Whose line is next; None at the end.
        self.key: bytes | None = None
        self.take()

    def take(self) -> bytes:
        """Return the line that is next, and go on."""
        line, self._line = self._line, next(self._lines, b"")
        self.key = entry_of(self._line)[0] if self._line else None
        return line


def _lines(path: Path, end: int) -> Iterator[bytes]:
    """Yield a file's lines up to an offset."""
    if end:
        with path.open("rb") as file:
            while file.tell() < end:
                yield file.readline()


def _refuse(damage: RunError) -> None:
    raise damage
