"""What the refine stage counts: what it concludes, and how long its disk takes."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from contextvqa.metrics.histogram import Histogram
from contextvqa.records import ImageRecord
from contextvqa.storage.sink import Line

#: What becomes of a record that was looked at.
RESULT, REJECT, ANOTHER_ATTEMPT = "result", "reject", "another_attempt"


class RefineMeter(Collector):
    """Counts for one refiner, each number on one thread. Whoever asks may read, on any thread."""

    def __init__(self) -> None:
        self._conclusions = dict.fromkeys((RESULT, REJECT, ANOTHER_ATTEMPT), 0)
        self.fsync_s, self.append_s = Histogram(), Histogram()

    def note(self, conclusion: Line | ImageRecord) -> None:
        """Count what was concluded of a record, again where its job is executed again."""
        if isinstance(conclusion, ImageRecord):
            what = ANOTHER_ATTEMPT
        else:
            what = RESULT if conclusion.is_result else REJECT
        self._conclusions[what] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield all of it."""
        conclusions = CounterMetricFamily(
            "contextvqa_conclusions", "Records that were judged.", labels=("conclusion",)
        )
        for what, number in self._conclusions.items():
            conclusions.add_metric((what,), number)
        yield conclusions
        yield self.fsync_s.family(
            "contextvqa_fsync_seconds", "Time of one fsync of a run's results or rejects."
        )
        yield self.append_s.family(
            "contextvqa_append_seconds",
            "Time of one append to a run: its locks, what others wrote, the write and the fsync.",
        )
