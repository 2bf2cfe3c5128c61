"""How much memory this process has taken, and how much programs under measurement do."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

#: Seconds between looks at the memory of others: a look takes milliseconds of CPU.
LOOK_INTERVAL_S = 0.2


def peak_rss_mb() -> float:
    """
    Return the most memory that this process has had, in MB.

    Not `ru_maxrss`: after a fork and exec it begins with the parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak_kb] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak_kb) * 1024 / 1e6


class PeakMemory:
    """Watches the memory of others, as a context manager."""

    def __init__(self, look_bytes: Callable[[], int]) -> None:
        self._look_bytes = look_bytes
        self._peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def mb(self) -> float:
        """The most that a look has seen so far, in MB."""
        return self._peak_bytes / 1e6

    def _watch(self) -> None:
        while True:
            self._peak_bytes = max(self._peak_bytes, self._look_bytes())
            if self._over.wait(LOOK_INTERVAL_S):
                return
