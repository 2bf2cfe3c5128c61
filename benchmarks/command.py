"""The command line of one benchmark: the same for all."""

import signal
from pathlib import Path

import click

from benchmarks.figures import Benchmark, rows_of
from benchmarks.machine import Machine
from benchmarks.report import Report, show
from benchmarks.rounds import measure_all
from contextvqa.errors import UnavailableError

#: Where results go, below the current directory, and what benchmarks install and leave.
OUTPUT = Path("build/benchmarks")


def report_path(name: str) -> Path:
    """Return where a benchmark's JSON is."""
    return OUTPUT / f"{name}.json"


def main(benchmark: Benchmark) -> None:
    """Run a benchmark as a program. SIGTERM ends it as Ctrl-C does: with all that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command_of(benchmark)()


def command_of(benchmark: Benchmark) -> click.Command:
    """Return the command that runs a benchmark."""

    @click.command(help=f"{benchmark.title}. Exit code 3 when a contender could not be measured.")
    @click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
    @click.option(
        "--scale", default=1.0, show_default=True, help="Share of the work: 0.01 for a quick look."
    )
    @click.option("--only", multiple=True, help="Name of a contender; repeatable. Default: all.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
    def command(*, rounds: int, scale: float, only: tuple[str, ...], as_json: bool) -> None:
        report = _run(benchmark, rounds, scale, only)
        if as_json:
            click.echo(report.to_json(), nl=False)
        else:
            show([report])
        if not report.is_complete:
            raise SystemExit(UnavailableError.exit_code)

    return command


def _run(benchmark: Benchmark, rounds: int, scale: float, only: tuple[str, ...]) -> Report:
    """Measure, and write the JSON; an older one is removed first, whatever happens then."""
    path = report_path(benchmark.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    contenders = benchmark.contenders(scale)
    unknown = set(only) - {contender.name for contender in contenders}
    if unknown:
        names = ", ".join(contender.name for contender in contenders)
        raise click.UsageError(f"no contender {', '.join(sorted(unknown))}; there are: {names}.")
    machine = Machine.here()
    chosen = [contender for contender in contenders if not only or contender.name in only]
    samples = measure_all(chosen, rounds, (OUTPUT / benchmark.name).resolve())
    report = Report.of(benchmark, machine, rows_of(benchmark, samples), rounds, scale)
    report.write(path)
    return report
