"""
What the gates make of a model's texts: `python -m benchmarks.yields FILE...`.

A FILE is JSONL with the raw text as `vqa`: the results and rejects of a run, or `contextvqa parse`'s
input. Every text is parsed and judged anew. Printed is, for each gate, what it found, in how many
records and pairs, and what is left in the end.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import orjson

from contextvqa.gates import NAMES, PRESETS, Quality, read_actions
from refiner.gates.judge import judge
from refiner.parser.parsing import Parsed, parse


@dataclass(slots=True)
class Yield:
    """What became of some texts."""

    records: int = 0
    accepted: int = 0
    pairs: int = 0
    #: Pairs of accepted records.
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    #: Records in which a gate found something, and pairs.
    found_records: Counter[str] = field(default_factory=Counter)
    found_pairs: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, finish_reason: str, quality: Quality) -> None:
        """Count one text."""
        self.records += 1
        parsed = parse(text, finish_reason)
        if not isinstance(parsed, Parsed):
            self.reasons[parsed.reason] += 1
            return
        judged = judge(parsed, text, quality)
        self.pairs += len(parsed.context_vqa.qas)
        self.accepted += judged.is_accepted
        self.kept += len(judged.qas) if judged.is_accepted else 0
        if judged.reason:
            self.reasons[judged.reason] += 1
        self.found_records.update({finding.gate.name for finding in judged.findings})
        self.found_pairs.update(
            finding.gate.name for finding in judged.findings if finding.pair is not None
        )


def read_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the texts of a file of lines, each with its finish reason."""
    with path.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            meta = row.get("meta") or row
            yield row["vqa"] or "", meta.get("finish_reason") or "stop"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--gates", default="default", type=click.Choice(list(PRESETS)))
@click.option("--gate", "changes", multiple=True, help="NAME=ACTION, as of `contextvqa run`.")
def main(files: Sequence[Path], gates: str, changes: Sequence[str]) -> None:
    """Judge the raw texts in FILES."""
    quality = Quality(actions=read_actions(gates, changes))
    found = Yield()
    for path in files:
        for text, finish_reason in read_texts(path):
            found.add(text, finish_reason, quality)
    click.echo(
        f"{found.accepted} of {found.records} records accepted, with {found.kept} of "
        f"{found.pairs} pairs; rejected: {dict(found.reasons) or 'none'}"
    )
    for name in NAMES:
        records, pairs = found.found_records[name], found.found_pairs[name]
        click.echo(f"{name:20} {quality.action(name):5} {records:6} records {pairs:6} pairs")


if __name__ == "__main__":
    main()
