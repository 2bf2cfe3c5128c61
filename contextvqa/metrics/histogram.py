"""How long things took, counted in buckets: an observation costs a fraction of a microsecond."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily

#: Bounds of what Redis and disks take, in seconds.
FAST_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Bounds of what images and engines take, in seconds.
SLOW_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


class Histogram:
    """
    Seconds by bucket. One thread observes, any may read.

    prometheus_client's own locks and looks up labels at each observation, which at thousands of
    records per second would be seen.
    """

    def __init__(self, bounds: Sequence[float] = FAST_S) -> None:
        self._bounds = bounds
        #: Of each bucket, the last of which has no bound.
        self._counts = [0] * (len(bounds) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def family(self, name: str, text: str, **labels: str) -> HistogramMetricFamily:
        """Return it as Prometheus has it: each bucket with all that are below it."""
        bounds = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        family = HistogramMetricFamily(name, text, labels=tuple(labels))
        family.add_metric(tuple(labels.values()), buckets, self._sum_s)
        return family
