"""Whether memory has grown, judged by the longest life of each process."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.soak.watch import Sample, Server

#: Share of the soak that a life must have lasted to be judged.
LONG = 0.3
#: Fewest samples that can be told into thirds.
MIN_SAMPLES = 9

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What is measured, and what the last third of a life may have beyond its middle third."""

    unit: str
    #: How many of what was counted are one of the unit.
    scale: float = 1.0
    #: So much of it,
    share: float = 0.05
    #: and so many units, which come and go by chance.
    slack: float = 0.0


MEMORY = Measure(unit="MB", scale=1e6, slack=2)
KEYS = Measure(unit="keys", slack=100)
#: Those that wait are smaller than those that have ended, and their shares change.
BYTES_PER_JOB = Measure(unit="bytes", share=0.2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one thing did in its longest life; the first third of that is its warm-up."""

    name: str
    measure: Measure
    life_s: float
    #: In the measure's unit; medians of the middle and of the last third.
    middle: float
    last: float
    most: float

    @property
    def growth(self) -> float:
        """Growth from the middle to the last third, as a share."""
        return self.last / self.middle - 1 if self.middle else 0.0

    @property
    def is_flat(self) -> bool:
        """Whether it has not grown beyond chance."""
        return self.last <= self.middle * (1 + self.measure.share) + self.measure.slack


def judge(samples: Sequence[Sample], duration_s: float) -> list[Verdict]:
    """Judge each process that lived long enough, and what Redis holds, which outlives its process."""
    asked = [(sample.at_s, sample.server) for sample in samples if sample.server is not None]
    measured = [(name, MEMORY, points) for name, points in sorted(longest_lives(samples).items())]
    measured += [
        ("Redis: memory per job", BYTES_PER_JOB, _per_job(asked)),
        ("Redis: keys of no job", KEYS, [(at_s, each.num_other_keys) for at_s, each in asked]),
    ]
    return [
        verdict(name, measure, points)
        for name, measure, points in measured
        if len(points) >= MIN_SAMPLES and points[-1][0] - points[0][0] >= LONG * duration_s
    ]


def longest_lives(samples: Sequence[Sample]) -> dict[str, list[Point]]:
    """Return when the longest-lived process of each role had how many bytes."""
    lives: defaultdict[str, defaultdict[int, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        for process in sample.memory:
            lives[process.role][process.pid].append((sample.at_s, process.num_bytes))
    return {role: max(each.values(), key=len) for role, each in lives.items()}


def verdict(name: str, measure: Measure, points: Sequence[Point]) -> Verdict:
    """Compare the last third with the middle one."""
    third = len(points) // 3
    values = [value / measure.scale for _, value in points]
    return Verdict(
        name=name,
        measure=measure,
        life_s=points[-1][0] - points[0][0],
        middle=median(values[third:-third]),
        last=median(values[-third:]),
        most=max(values),
    )


def _per_job(asked: Sequence[tuple[float, Server]]) -> list[Point]:
    return [(at_s, each.dataset_bytes / each.num_jobs) for at_s, each in asked if each.num_jobs]
