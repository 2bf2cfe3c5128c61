"""What tells that a worker must be started anew: an engine that hangs, memory that grows."""

import time
from collections.abc import Callable

from contextvqa.errors import RestartError

#: Seconds between two looks that count at most: a longer gap means that we were frozen ourselves,
#: as in a paused container, and the engine with us.
MAX_GAP_S = 10.0
#: Seconds between two measurements of memory.
MEASURE_INTERVAL_S = 10.0
#: Bytes in the GB of `--max-memory-gb`.
GB = 10**9


class TokenWatch:
    """Notices that requests run and none of them gets a token: an engine may hang and look well."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = clock()
        self._num_tokens = 0
        self._stalled_s = 0.0

    def stalled_s(self, *, num_running: int, num_tokens: int) -> float:
        """
        Return for how many seconds nothing has moved, as far as looks can tell.

        Args:
            num_running: Requests that the engine has now.
            num_tokens: Tokens written so far, for those and for all that have ended.

        """
        now = self._clock()
        gap_s = min(now - self._looked_at, MAX_GAP_S)
        has_moved = num_tokens > self._num_tokens or not num_running
        self._stalled_s = 0.0 if has_moved else self._stalled_s + gap_s
        # An aborted request takes its tokens along, so that this may also fall.
        self._num_tokens = num_tokens
        self._looked_at = now
        return self._stalled_s


class MemoryWatch:
    """Notices that a worker's processes have more memory than they may."""

    def __init__(
        self,
        max_memory_gb: float | None,
        measure: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Measure, in bytes, only if there is a limit: never for None."""
        self._max_memory_gb = max_memory_gb
        self._measure = measure
        self._clock = clock
        self._measure_at = clock()

    def check(self) -> None:
        """
        Measure when it is time to.

        Raises:
            RestartError: It is too much. What is in flight may end.

        """
        if self._max_memory_gb is None or self._clock() < self._measure_at:
            return
        self._measure_at = self._clock() + MEASURE_INTERVAL_S
        memory_gb = self._measure() / GB
        if memory_gb > self._max_memory_gb:
            raise RestartError(
                f"memory {memory_gb:.1f} GB is above --max-memory-gb {self._max_memory_gb}"
            )
