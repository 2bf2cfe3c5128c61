"""`contextvqa reparse`: parser and gates over the raw texts of a run, into a new run."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import click
import orjson

from contextvqa.errors import UsageError, in_lines
from contextvqa.gates import Quality
from contextvqa.options import changes, takes
from contextvqa.progress import CountProgress, telling_how_to_resume
from contextvqa.run_config import RunConfig
from contextvqa.settings import Cores, Disk, Gates
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.storage.sink import Line, Sink
from refiner.replay.comparison import Change, Comparison
from refiner.replay.processes import ReplayProcesses
from refiner.replay.replaying import Replay
from refiner.replay.source import CHUNK_BYTES, ReplaySource

#: Bytes of lines that one write and one fsync make durable: a second's work of a few cores.
WRITE_BYTES = 4 << 20

_NOTES = {
    "lost": "{} earlier attempts were left out: an older version did not keep their texts",
    "partial": "{} texts are of lines of an older version, which do not say all of where they came "
    "from: what is missing is the run's model and begin, or 0",
}


@click.command()
@click.argument("name")
@click.option("--run", "new_name", required=True, help="Name of the new run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@takes(Disk, Cores)
@changes(Gates)
def command(  # noqa: PLR0913 - one parameter per option
    *,
    name: str,
    new_name: str,
    as_json: bool,
    disk: Disk,
    cores: Cores,
    given: Mapping[str, Any],
) -> None:
    """
    Judge the raw texts of run NAME anew, into a new run, and say what changed.

    Needs neither Redis nor model, and leaves NAME as it is. What is not given of the gates is as in
    NAME. No text is generated again: of the attempts that there are the best wins. The same command
    resumes.
    """
    # A supervisor's SIGTERM stops it as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    old, new = RunDirectory(disk.runs_dir, name), RunDirectory(disk.runs_dir, new_name)
    origin, config = _begin(old, new, given)
    with new.alone(), telling_how_to_resume():
        if old.redis_path.exists():
            # A run of `contextvqa run`: `retry` puts rejects where that will look for them.
            new.redis_path.mkdir(mode=0o700, exist_ok=True)
        old.prompts.copy_to(new.prompts)
        comparison = _reparse(old, new, Replay(origin, config), cores)
    report = _report(new_name, name, comparison)
    click.echo(orjson.dumps(report) if as_json else _text(report))


def _begin(
    old: RunDirectory, new: RunDirectory, given: Mapping[str, Any]
) -> tuple[RunConfig, RunConfig]:
    """Return the configurations of the old run and of the new one, which is begun if need be."""
    if old.run == new.run:
        raise UsageError(f"--run {new.run} is the run that is read; name a new one.")
    old.check_exists()
    origin = old.read_config()
    assert origin is not None  # noqa: S101 - the run exists
    return origin, new.begin_reparsed(origin, _quality(origin, given))


def _quality(origin: RunConfig, given: Mapping[str, Any]) -> Quality:
    try:
        return Gates.over(origin.quality, given)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _reparse(old: RunDirectory, new: RunDirectory, replay: Replay, cores: Cores) -> Comparison:
    """Replay what is not replayed yet, in the order of the old run, and compare all of it."""
    sink = Sink(new)
    try:
        sink.append([])  # Cuts off what a kill left of an unfinished write.
        source = ReplaySource(old, new)
        jobs = cores.jobs or len(os.sched_getaffinity(0))
        jobs = min(jobs, 1 + source.num_bytes // CHUNK_BYTES)
        comparison = Comparison()
        lines: list[Line] = []
        with (
            CountProgress("reparsing", source.num_records) as progress,
            ReplayProcesses(replay, jobs) as processes,
        ):
            for answer in processes.replay(source.chunks()):
                lines += answer.lines
                if sum(len(line.data) for line in lines) >= WRITE_BYTES:
                    sink.append(lines)
                    lines = []
                comparison.merge(answer.comparison)
                progress.advance(answer.comparison.read)
            sink.append(lines)
    finally:
        sink.close()
    return comparison


def _report(run: str, origin: str, comparison: Comparison) -> dict[str, Any]:
    """Return what `--json` shows."""
    return {
        "run": run,
        "reparsed_from": origin,
        "read": comparison.read,
        "accepted": {"before": comparison.accepted_before, "after": comparison.accepted_after},
        "pairs": {"before": comparison.pairs_before, "after": comparison.pairs_after},
        "changed": comparison.changed,
        "changes": {
            change.value: {
                "count": comparison.changes[change],
                "reasons": {
                    reason: {"count": found.count, "examples": found.examples}
                    for reason, found in comparison.reasons_of(change)
                },
            }
            for change in Change
            if comparison.changes[change]
        },
        "notes": [
            text.format(count)
            for name, text in _NOTES.items()
            if (count := getattr(comparison, name))
        ],
    }


def _text(report: Mapping[str, Any]) -> str:
    lines = [
        "run {run}: {read} records of run {reparsed_from} judged anew".format(**report),
        *(
            f"  {name}: {{before}} -> {{after}}".format(**report[name])
            for name in ("accepted", "pairs")
        ),
        f"  changed: {report['changed']}",
    ]
    for change, found in report["changes"].items():
        lines.append(f"    {change.replace('_', ' ')}: {found['count']}")
        for reason, of in found["reasons"].items():
            examples = ", ".join(repr(example) for example in of["examples"])
            lines.append(f"      {of['count']} x {reason}, as id {examples}")
    return in_lines([*lines, *(f"  note: {note}" for note in report["notes"])])
