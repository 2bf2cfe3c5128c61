"""The nouns of a benchmark: what is measured, of whom, and what came out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One quantity, measured of every contender that has it."""

    #: With its unit, as in `records_per_s`: the key in measurements and in JSON.
    name: str
    #: How the table names it.
    title: str
    #: Name of the contender that ratios are taken against.
    baseline: str


class Contender(ABC):
    """What is compared with others: one of several ways to do the same work."""

    name: str
    #: How much work one repetition is, for the table: "20,000 records".
    size: str
    #: What it needs beyond our own environment, as pip reads it.
    packages: tuple[str, ...] = ()
    #: Rounds that it takes part in, None for all: for work that takes minutes and hardly varies.
    max_rounds: int | None = None

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """
        Install and build what is needed, before the first repetition.

        Raises:
            UnavailableError: It cannot run here. The others go on.

        """

    @abstractmethod
    def measure(self, directory: Path) -> Mapping[str, float]:
        """
        Do the work once, in an empty directory, and return the value of each metric.

        Raises:
            UnavailableError: It does not work here. The others go on.

        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """A set of contenders that do the same work, and what is measured of them."""

    #: The module's, and the name of its JSON.
    name: str
    title: str
    metrics: Sequence[Metric]
    #: Makes the contenders, with their work multiplied by the given scale.
    contenders: Callable[[float], Sequence[Contender]]


@dataclass(slots=True)
class Samples:
    """What the repetitions of one contender measured so far."""

    contender: Contender
    values: list[Mapping[str, float]]
    #: Why it could not run, or not to the end; its values then count for nothing.
    failure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One metric of one contender, over all repetitions."""

    metric: str
    median: float
    lowest: float
    highest: float
    #: The contender of the same run that the ratio is taken against.
    baseline: str
    #: Median over the baseline's; None where the baseline could not be measured.
    ratio: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """All figures of one contender."""

    contender: str
    size: str
    packages: tuple[str, ...]
    repetitions: int
    figures: tuple[Figure, ...]
    failure: str | None


def rows_of(benchmark: Benchmark, samples: Sequence[Samples]) -> list[Row]:
    """Turn samples into figures: medians, spread, and ratios within this run."""
    measured = {item.contender.name: item.values for item in samples if item.failure is None}
    return [
        Row(
            contender=item.contender.name,
            size=item.contender.size,
            packages=item.contender.packages,
            repetitions=len(measured.get(item.contender.name, ())),
            figures=_figures(benchmark.metrics, item.contender.name, measured),
            failure=item.failure,
        )
        for item in samples
    ]


def _figures(
    metrics: Sequence[Metric], contender: str, measured: Mapping[str, list[Mapping[str, float]]]
) -> tuple[Figure, ...]:
    figures = []
    for metric in metrics:
        values = _values(metric, measured.get(contender, []))
        if not values:
            continue
        against = _values(metric, measured.get(metric.baseline, []))
        figures.append(
            Figure(
                metric=metric.name,
                median=median(values),
                lowest=min(values),
                highest=max(values),
                baseline=metric.baseline,
                ratio=median(values) / median(against) if any(against) else None,
            )
        )
    return tuple(figures)


def _values(metric: Metric, repetitions: Sequence[Mapping[str, float]]) -> list[float]:
    return [values[metric.name] for values in repetitions if metric.name in values]
