"""What the doctor found, for people and for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contextvqa.errors import one_line
from contextvqa.findings import Finding, Verdict

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILURE: "bold red"}


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print them on stdout: as one JSON object, a table on a terminal, or a line each."""
    console = Console()
    if as_json:
        click.echo(to_json(findings))
    elif console.is_terminal:
        console.print(table(findings))
    else:
        for finding in findings:
            click.echo(f"{finding.verdict:<7} {one_line(f'{finding.check}: {finding}')}")


def to_json(findings: Sequence[Finding]) -> bytes:
    """Return one JSON object: counts by verdict, and all findings."""
    counts = Counter(finding.verdict for finding in findings)
    numbers = {verdict.value: counts[verdict] for verdict in Verdict}
    return orjson.dumps({**numbers, "checks": [asdict(finding) for finding in findings]})


def table(findings: Sequence[Finding]) -> Table:
    """Return it for a terminal, which shows the texts and does not obey them."""
    made = Table("check", "", "found", "expected, and what to do", pad_edge=False)
    for finding in findings:
        advice = "; ".join(filter(None, (finding.expected, finding.remedy)))
        verdict = Text(finding.verdict, STYLES[finding.verdict])
        made.add_row(Text(finding.check), verdict, Text(one_line(finding.found)), Text(advice))
    return made
