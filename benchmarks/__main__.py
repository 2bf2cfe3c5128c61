"""
`python -m benchmarks`, or `make bench`: run every benchmark that needs no GPU, and print one table.

Each runs in a process of its own, with the same options. One that fails costs the others nothing;
the exit code then tells: 3 when something could not be measured, which a line names.
"""

import subprocess
import sys

import click

from benchmarks.command import report_path
from benchmarks.report import Report, show
from contextvqa.errors import UnavailableError
from contextvqa.progress import say

#: Modules of this package, in the order in which docs/performance.md has them.
BENCHMARKS = (
    "queues",
    "watched_queues",
    "slots",
    "feed",
    "watching",
    "prefix",
    "structured",
    "startup",
    "images",
    "producer",
    "refiner",
    "resume",
)
#: Those that need what few machines have: run alone.
ON_REQUEST = ("gpu",)


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--scale", default=1.0, show_default=True, help="Share of the work.")
def command(*, rounds: int, scale: float) -> None:
    """Run all benchmarks and print one table. Each alone: python -m benchmarks.NAME --help."""
    reports = []
    is_complete = True
    for name in BENCHMARKS:
        report_path(name).unlink(missing_ok=True)
        say(f"benchmark {name}")
        code = _run(name, "--rounds", str(rounds), "--scale", str(scale), "--json")
        if report_path(name).exists():
            reports.append(Report.read(report_path(name)))
        else:
            say(f"left out: {name} ended with code {code}")
        is_complete = is_complete and code == 0
    show(reports)
    if not is_complete:
        raise SystemExit(UnavailableError.exit_code)


def _run(name: str, *options: str) -> int:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", f"benchmarks.{name}", *options], stdout=subprocess.DEVNULL
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        # It got the terminal's Ctrl-C too, and ends what it has started.
        process.wait()
        raise


if __name__ == "__main__":
    command()
