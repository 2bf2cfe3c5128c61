"""How many records a worker keeps in flight: enough that its engine never waits, and few more."""

import math
import time
from collections import deque
from collections.abc import Callable

#: Records that the estimate rests on.
NUM_SAMPLES = 256
#: Twice as many as reach the engine meanwhile are on their way: they are claimed in batches, and
#: the next batch is asked for when the last one has left.
AHEAD = 2.0


class Window:
    """
    Follows the engine: its slots, and so many records besides as are on their way to it.

    By Little's law those are the records that reach the engine per second, times the seconds that
    their way takes. Never more than the slots: where the way is slower than the engine, a longer
    queue of decoded images would help nobody.

    Args:
        fixed: What somebody wants it to be, whatever is measured.

    """

    def __init__(self, fixed: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._fixed = fixed
        self._clock = clock
        #: When each record reached the engine, and how long its way took, in seconds.
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=NUM_SAMPLES)

    def size(self, num_slots: int) -> int:
        """Return the most records to keep in flight for an engine that runs so many at once."""
        return self._fixed or num_slots + self._num_ahead(num_slots)

    def note_arrival(self, way_s: float) -> None:
        """Note that a record has reached the engine, so many seconds after it was claimed."""
        self._arrivals.append((self._clock(), way_s))

    def _num_ahead(self, num_slots: int) -> int:
        least = max(1, num_slots // 4)
        if len(self._arrivals) < NUM_SAMPLES:
            return least
        elapsed_s = self._arrivals[-1][0] - self._arrivals[0][0]
        way_s = sum(way_s for _, way_s in self._arrivals) / len(self._arrivals)
        if not elapsed_s:
            return num_slots
        rate = len(self._arrivals) / elapsed_s
        return min(max(least, math.ceil(AHEAD * rate * way_s)), num_slots)
