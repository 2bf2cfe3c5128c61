"""
`python -m tests.soak.report`: the report of the last soak again, from what it wrote down.

Markdown on stdout, as docs/reliability.md has it, and the curve beside the samples.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tests.soak.chart import draw
from tests.soak.flatness import MEMORY, Verdict, judge
from tests.soak.record import Record, read
from tests.soak.watch import Sample
from tests.support import ROOT

OUTPUT = ROOT / "build" / "soak"
#: Judged, but not worth a line where it is flat.
SMALL_MB = 1.0


def report(directory: Path) -> bool:
    """Print what became of a soak, and draw its curve; return whether all was well."""
    record, samples = read(directory)
    verdicts = judge(samples, record.duration_s)
    (directory / "soak.svg").write_text(draw(record, samples))
    click.echo("\n".join(_lines(record, samples, verdicts)))
    return record.outcome.is_whole and all(verdict.is_flat for verdict in verdicts)


def _lines(record: Record, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> Iterator[str]:
    outcome = record.outcome
    counts = Counter(kill.victim for kill in record.kills)
    num_new = samples[-1].num_results - samples[0].num_results
    yield f"{record.machine}; {record.server}; {record.duration_s / 60:g} minutes, seed {record.seed}"
    yield ""
    yield "| what | number |"
    yield "| --- | ---: |"
    yield f"| rows enqueued | {outcome.num_rows:,} |"
    yield f"| results | {outcome.num_results:,} |"
    yield f"| rejects | {outcome.num_rejects:,} |"
    yield f"| lost | {outcome.num_lost:,} |"
    yield f"| doubled | {outcome.num_doubled:,} |"
    yield f"| exit code of `audit` | {outcome.audit_code} |"
    yield f"| results/s, kills included | {num_new / record.duration_s:.1f} |"
    yield f"| kills | {counts.total()} |"
    for victim, number in sorted(counts.items()):
        yield f"| kills of {victim} | {number} |"
    yield ""
    yield "| memory | longest life, min | middle third | last third | growth | most | unit | |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |"
    for verdict in verdicts:
        if verdict.is_flat and verdict.measure is MEMORY and verdict.most < SMALL_MB:
            continue
        yield (
            f"| {verdict.name} | {verdict.life_s / 60:.0f} | {verdict.middle:,.1f} "
            f"| {verdict.last:,.1f} | {verdict.growth:+.1%} | {verdict.most:,.1f} "
            f"| {verdict.measure.unit} | {'flat' if verdict.is_flat else '**grows**'} |"
        )


if __name__ == "__main__":
    raise SystemExit(not report(OUTPUT))
