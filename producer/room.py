"""How far a producer may run ahead: it holds back while the queue is deep or its run is paused."""

import time

import redis

from contextvqa.pauses import pause_of
from contextvqa.progress import Ticker
from contextvqa.queues import GENERATE, rq_queue
from contextvqa.watermark import Watermark

#: Seconds between looks at a queue that is too deep.
POLL_S = 0.2


class Room:
    """Waits until the generate queue may grow, and says meanwhile why and how far things are."""

    def __init__(self, connection: redis.Redis, run: str, high_water: int) -> None:
        self.connection = connection
        self.run = run
        self._queue = rq_queue(GENERATE, connection)
        self._watermark = Watermark(high_water)
        self._ticker = Ticker()

    def wait(self, progress: str) -> None:
        """Return when there is room. `progress` says what was enqueued so far."""
        while reason := self._obstacle():
            self._ticker.tick(f"{progress}; {reason}")
            time.sleep(POLL_S)
        self._ticker.tick(progress)

    def _obstacle(self) -> str:
        pause = pause_of(self.connection, self.run)
        if pause is not None:
            return f"waiting: {pause.advise(self.run)}"
        depth = self._queue.count
        return f"waiting: {depth} records are queued" if self._watermark.holds(depth) else ""
