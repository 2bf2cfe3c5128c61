"""Files of lines that grow, results and logs, as programs under measurement write them."""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import Program
from contextvqa.errors import UnavailableError
from contextvqa.progress import Ticker

#: Seconds between looks.
POLL_S = 0.01
#: What the log of a daemon says right before it claims.
READY = "ready: worker"


class Lines:
    """Counts the lines of some files, reading only what is new."""

    def __init__(
        self, directory: Path, names: Sequence[str], programs: Sequence[Program], *, stall_s: float
    ) -> None:
        """
        Watch files that need not be there yet.

        Args:
            programs: Those that write them. Each that ends before its time is a failure.
            stall_s: Longest time without a new line: then a contender has stalled.

        """
        self._directory = directory
        self._offsets = {directory / name: 0 for name in names}
        self._programs = programs
        self._stall_s = stall_s
        self._ticker = Ticker()
        self._count = 0

    def wait_for(self, count: int) -> None:
        """
        Return when so many lines are there.

        Raises:
            UnavailableError: A program has ended, or no line has come for too long.

        """
        deadline = time.monotonic() + self._stall_s
        while self._count < count:
            time.sleep(POLL_S)
            if self._follow():
                deadline = time.monotonic() + self._stall_s
            elif time.monotonic() > deadline:
                raise UnavailableError(
                    f"no line for {self._stall_s:.0f} s after {self._count} (see {self._directory})"
                )
            for program in self._programs:
                program.check()
            self._ticker.tick(f"{self._count:,} of {count:,} lines")

    def _follow(self) -> bool:
        """Count what is new; return whether there was something."""
        before = sum(self._offsets.values())
        for path, offset in self._offsets.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(offset)
                new = file.read()
            self._offsets[path] = offset + len(new)
            self._count += new.count(b"\n")
        return sum(self._offsets.values()) > before


def wait_for_words(words: str, log: Path, program: Program, *, stall_s: float) -> float:
    """
    Return when a log has some words: the time, by the monotonic clock.

    Raises:
        UnavailableError: The program has ended, or takes too long.

    """
    deadline = time.monotonic() + stall_s
    while words not in read(log):
        program.check()
        if time.monotonic() > deadline:
            raise UnavailableError(f"not {words!r} within {stall_s:.0f} s (see {log})")
        time.sleep(POLL_S)
    return time.monotonic()


def read(path: Path) -> str:
    """Return the text of a file that may not be there yet."""
    return path.read_text("utf-8", "replace") if path.exists() else ""
