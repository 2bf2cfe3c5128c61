"""What a daemon counts of its dealings with its queue, and why it does not claim more."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from contextvqa import __version__
from contextvqa.metrics.histogram import Histogram
from contextvqa.queueing.outcomes import Claim, Failed, Finished, Outcome, Retried, Returned

#: How executions end. The last: dropped, as the job had become another execution's meanwhile.
OUTCOMES = {Finished: "finished", Failed: "failed", Returned: "returned", Retried: "retried"}
LOST = "lost"


class Hold(StrEnum):
    """Why a daemon has not more in flight, as of its last look."""

    #: Its model is not loaded yet, or it has not registered yet.
    LOADING = "loading"
    #: Nothing holds it: it waits for Redis to answer its claim.
    CLAIMING = "claiming"
    #: As many are in flight as may be.
    WINDOW = "window"
    #: Nothing is queued.
    QUEUE_EMPTY = "queue_empty"
    #: Nothing is queued but jobs of runs that are paused, if any.
    PAUSED = "paused"
    #: Somebody has suspended all workers, as `rq suspend` does.
    SUSPENDED = "suspended"
    #: The next stage lags behind: its queue is above the high-water mark.
    REFINE_BACKLOG = "refine_backlog"
    #: Records that were in flight at a crash are tried again with nothing else in flight.
    SUSPECTS = "suspects"
    #: It is to stop.
    DRAINING = "draining"


class Meter(Collector):
    """Counts for one daemon, on its event loop. Whoever asks may read, on any thread."""

    def __init__(self, queue: str, worker: str) -> None:
        self.queue = queue
        self.worker = worker
        self.hold = Hold.LOADING
        #: Executions that wait until they are tried again.
        self.num_waiting = 0
        self._num_in_flight = self._num_claims = self._num_reaped = 0
        self._settled = dict.fromkeys((*OUTCOMES.values(), LOST), 0)
        self._claim_s, self._settle_s = Histogram(), Histogram()

    def note_claims(self, number: int, began: float) -> None:
        """Count the jobs of a claim that was begun at this time of the monotonic clock."""
        if number:
            self._num_claims += number
            self._num_in_flight += number
            self._claim_s.observe(time.monotonic() - began)

    def note_settled(
        self, batch: Sequence[tuple[Claim, Outcome]], lost: Sequence[Claim], began: float
    ) -> None:
        """Count how executions ended that were settled together."""
        self._num_in_flight -= len(batch)
        self._settle_s.observe(time.monotonic() - began)
        for kind, number in Counter(type(outcome) for _, outcome in batch).items():
            self._settled[OUTCOMES[kind]] += number
        for claim, outcome in batch if lost else ():
            if claim in lost:
                self._settled[OUTCOMES[type(outcome)]] -= 1
                self._settled[LOST] += 1

    def note_reaped(self, number: int) -> None:
        """Count jobs of dead workers that were put back."""
        self._num_reaped += number

    def collect(self) -> Iterator[Metric]:
        """Yield all of it."""
        yield InfoMetricFamily(
            "contextvqa_daemon",
            "The daemon that this is.",
            {"queue": self.queue, "worker": self.worker, "version": __version__},
        )
        yield self._gauge("ready", "Whether it has registered.", self.hold is not Hold.LOADING)
        yield self._gauge("in_flight", "Claims that are not settled.", self._num_in_flight)
        yield self._counter("claims", "Jobs that were claimed.", self._num_claims)
        yield self._counter("reaped", "Jobs of dead workers that it put back.", self._num_reaped)
        settled = CounterMetricFamily(
            "contextvqa_settled", "Executions that ended.", labels=("queue", "outcome")
        )
        for outcome, number in self._settled.items():
            settled.add_metric((self.queue, outcome), number)
        yield settled
        yield self._claim_s.family(
            "contextvqa_claim_seconds", "Time of one claim that found jobs.", queue=self.queue
        )
        yield self._settle_s.family(
            "contextvqa_settle_seconds", "Time of one settling transaction.", queue=self.queue
        )

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"contextvqa_{name}", text, labels=("queue",))
        family.add_metric((self.queue,), value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(f"contextvqa_{name}", text, labels=("queue",))
        family.add_metric((self.queue,), value)
        return family
