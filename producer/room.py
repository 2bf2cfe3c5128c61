"""How far a producer may run ahead: it holds back while the queue is deep or its run is paused."""

import time

import redis

from contextvqa.progress import Ticker, say
from contextvqa.queueing.pauses import pause_of
from contextvqa.queueing.queues import GENERATE, rq_queue
from contextvqa.queueing.watermark import Watermark

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
        self._wait_for_resume()
        while self._watermark.holds(depth := self._queue.count):
            self._ticker.tick(f"{progress}; waiting: {depth} records are queued")
            time.sleep(POLL_S)
            self._wait_for_resume()
        self.tick(progress)

    def tick(self, progress: str) -> None:
        """Say how far things are, if that is due."""
        self._ticker.tick(progress)

    def _wait_for_resume(self) -> None:
        """Say at once what is waited for: only somebody who mends it can end this."""
        pause = pause_of(self.connection, self.run)
        if pause is None:
            return
        say(f"waiting: {pause.advise(self.run)}")
        while pause_of(self.connection, self.run) is not None:
            time.sleep(POLL_S)
