"""What a benchmark leaves: one JSON file, and its part of one table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Benchmark, Row
from benchmarks.machine import Machine
from contextvqa.records import from_payload

#: Wide enough for every column, where the output is no terminal.
WIDTH = 140


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run of one benchmark."""

    benchmark: str
    title: str
    machine: Machine
    rounds: int
    scale: float
    #: Title of each metric by its name.
    metrics: dict[str, str]
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls, benchmark: Benchmark, machine: Machine, rows: Sequence[Row], rounds: int, scale: float
    ) -> "Report":
        """Return the report of a run that has ended."""
        return cls(
            benchmark=benchmark.name,
            title=benchmark.title,
            machine=machine,
            rounds=rounds,
            scale=scale,
            metrics={metric.name: metric.title for metric in benchmark.metrics},
            rows=tuple(rows),
        )

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `write` has written."""
        return from_payload(orjson.loads(path.read_bytes()), cls)

    def write(self, path: Path) -> None:
        """Write the file in one step: a reader finds it whole, or not at all."""
        partial = path.with_suffix(".part")
        partial.write_bytes(self.to_json())
        partial.replace(path)

    def to_json(self) -> bytes:
        """Return the report as JSON for people and programs."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @property
    def is_complete(self) -> bool:
        """Whether every contender could be measured."""
        return all(row.failure is None for row in self.rows)


def show(reports: Iterable[Report]) -> None:
    """Print reports as one table on stdout."""
    table = Table("benchmark", "contender", "work", "figure", box=None, pad_edge=False)
    for column in ("median", "lowest - highest", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("against")
    machines = []
    for report in reports:
        machines.append(f"{report.benchmark}: {report.rounds} rounds; {report.machine}")
        for row in report.rows:
            _add(table, report, row)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, WIDTH)
    console.print(*machines, sep="\n")
    console.print(table)


def _add(table: Table, report: Report, row: Row) -> None:
    names = (report.benchmark, row.contender, row.size)
    if row.failure is not None:
        table.add_row(*names, f"left out: {row.failure}")
    for figure in row.figures:
        table.add_row(
            *names,
            report.metrics[figure.metric],
            _number(figure.median),
            f"{_number(figure.lowest)} - {_number(figure.highest)}",
            "" if figure.ratio is None else f"{_number(figure.ratio)}x",
            figure.baseline,
        )
        names = ("", "", "")
    table.add_section()


def _number(value: float) -> str:
    """Show three digits, which is more than a measurement is good for."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004
