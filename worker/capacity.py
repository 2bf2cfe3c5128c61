"""How many requests an engine runs at once, by its limits and by what its scheduler says."""

import time
from collections.abc import Callable

#: Seconds of one period; what was before the last one says nothing of the engine any more.
PERIOD_S = 10.0


class Capacity:
    """
    Follows what the engine runs: fewer than its slots where its KV cache holds no more.

    That is the most of late, and at least what the cache holds at full length, which vLLM knows
    when it has loaded. An engine that could run more is not held back: whoever keeps a few
    requests besides on their way to it (`worker.window`) sees them run, and this grows.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_at = clock()
        #: The most requests that ran in this period, and in the last one.
        self._now = self._before = 0

    def note_step(self, num_running: int) -> None:
        """Note how many requests a step ran."""
        self._turn_over()
        self._now = max(self._now, num_running)

    def at_once(self, *, num_sure: int, num_slots: int) -> int:
        """
        Return how many requests the engine runs at once, 1 to its slots.

        Args:
            num_sure: As many as it runs in any case.
            num_slots: As many as it may run.

        """
        self._turn_over()
        return min(max(1, num_sure, self._now, self._before), num_slots)

    def _turn_over(self) -> None:
        elapsed_s = self._clock() - self._begun_at
        if elapsed_s < PERIOD_S:
            return
        self._before = self._now if elapsed_s < 2 * PERIOD_S else 0
        self._now = 0
        self._begun_at += elapsed_s
