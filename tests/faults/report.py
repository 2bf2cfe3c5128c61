"""What the trials of this session found: one line per fault, for people and for the docs."""

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson

from contextvqa.processes.server_program import find_server
from tests.faults.ledger import Findings
from tests.faults.plan import FAULTS


@dataclass(slots=True)
class Line:
    """What came of one fault."""

    trials: int = 0
    faults: int = 0
    in_flight: int = 0
    lost: int = 0
    doubled: int = 0
    left_over: int = 0
    duration_s: float = 0.0


class Report:
    """Gathers the lines of one session."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}

    def add(self, fault: str, findings: Findings, faults: int, in_flight: int) -> None:
        """Enter one trial."""
        line = self._line(fault)
        line.trials += 1
        line.faults += faults
        line.in_flight += in_flight
        line.lost += len(findings.lost) + len(findings.misjudged)
        line.doubled += len(findings.doubled) + len(findings.mixed)
        line.left_over += len(findings.left_over)

    def note(self, fault: str, faults: int = 1) -> None:
        """Enter a trial that leaves nothing to compare."""
        self.add(fault, Findings(), faults, 0)

    def add_time(self, fault: str, duration_s: float) -> None:
        """Enter the time of a trial, whatever came of it."""
        self._line(fault).duration_s += duration_s

    def _line(self, fault: str) -> Line:
        return self.lines.setdefault(fault, Line()) if FAULTS[fault].text else Line()

    def table(self) -> Iterator[str]:
        """Yield the lines of a Markdown table."""
        heads = ("fault", "trials", "faults", "in flight", "lost", "doubled", "left over", "s")
        yield f"| {' | '.join(heads)} |"
        yield "| --- |" + " ---: |" * (len(heads) - 1)
        for name, line in self.lines.items():
            cells = [FAULTS[name].text, *map(str, list(asdict(line).values())[:-1])]
            yield f"| {' | '.join(cells)} | {line.duration_s:.0f} |"

    def write(self, directory: Path) -> None:
        """Write the table as Markdown and as JSON, with where and when it was made."""
        directory.mkdir(exist_ok=True)
        lines = {name: asdict(line) for name, line in self.lines.items()}
        data = {**_circumstances(), "faults": lines}
        (directory / "faults.json").write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        said = ", ".join(f"{name} {value}" for name, value in _circumstances().items())
        text = "\n".join((said, "", *self.table(), ""))
        (directory / "faults.md").write_text(text, encoding="utf-8")


def _circumstances() -> dict[str, str]:
    names = ("contextvqa", "redis", "rq", "pillow")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()} with {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "server": find_server().name,
        **{name: version(name) for name in names},
    }


report = Report()
