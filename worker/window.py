"""How many records a worker keeps in flight: enough that its engine never waits, and few more."""

import math
import time
from collections import deque
from collections.abc import Callable

#: Records that the estimate rests on, at most and at least.
NUM_SAMPLES = 256
MIN_SAMPLES = 32
#: Twice as many as reach the engine meanwhile are on their way: they are claimed in batches, and
#: the next batch is asked for when the last one has left.
AHEAD = 2.0


class Window:
    """
    Follows the engine: what it runs at once, and so many records besides as are on their way to it.

    By Little's law those are the records that reach the engine per second, times the seconds that
    their way takes. Never more than its slots: where the way is slower than the engine, a longer
    queue of decoded images would help nobody. Always some, so that an engine that can run more
    than is known of it gets them, and is known to.

    Args:
        fixed: What somebody wants it to be, whatever is measured.

    """

    def __init__(self, fixed: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._fixed = fixed
        self._clock = clock
        #: When each record reached the engine, and how long its way took, in seconds.
        self._arrivals: deque[tuple[float, float]] = deque()
        #: Of all of these; kept, since the size is asked for at every turn.
        self._way_s = 0.0

    def size(self, *, num_at_once: int, num_slots: int) -> int:
        """
        Return the most records to keep in flight.

        Args:
            num_at_once: Requests that the engine runs at once.
            num_slots: As many as it may run.

        """
        return self._fixed or num_at_once + self._num_ahead(num_at_once, num_slots)

    def note_arrival(self, way_s: float) -> None:
        """Note that a record has reached the engine, so many seconds after it was claimed."""
        self._arrivals.append((self._clock(), way_s))
        self._way_s += way_s
        if len(self._arrivals) > NUM_SAMPLES:
            self._way_s -= self._arrivals.popleft()[1]

    def _num_ahead(self, num_at_once: int, num_slots: int) -> int:
        least = math.ceil(num_at_once / 4)
        if len(self._arrivals) < MIN_SAMPLES:
            return least
        elapsed_s = self._arrivals[-1][0] - self._arrivals[0][0]
        if not elapsed_s:
            return num_slots
        # The records per second, times their mean way: their number cancels out.
        num_on_the_way = self._way_s / elapsed_s
        return min(max(least, math.ceil(AHEAD * num_on_the_way)), num_slots)
