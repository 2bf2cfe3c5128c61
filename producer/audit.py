"""`contextvqa audit`: the proof that every record is exactly one of done, rejected or pending."""

from dataclasses import asdict, dataclass, field
from typing import Any

import click
import orjson
import redis

from contextvqa.errors import IncompleteError, UnavailableError, in_lines
from contextvqa.options import INPUT_FILE, takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from contextvqa.settings import Store
from contextvqa.storage.run_directory import RunDirectory
from producer.ledger import Findings, InputCounts, Ledger

#: What to do about each finding.
CURES = {
    "missing": "{enqueue} re-creates missing and stuck records",
    "stuck": "{enqueue} re-creates missing and stuck records",
    "doubled": "of each doubled key remove all lines but one, while nothing runs",
    "damaged": "repair or remove the damaged lines, while nothing runs",
}


@dataclass(kw_only=True, slots=True)
class Audit:
    """What an audit found, as `--json` shows it."""

    run: str
    done: int
    rejected: int
    #: None where Redis cannot be asked.
    pending: int | None
    #: Rejects lines that count no more.
    superseded: int
    #: None without inputs to compare with.
    input: InputCounts | None
    findings: Findings
    #: What limits the proof, and what is worth knowing.
    notes: list[str] = field(default_factory=list)


@click.command()
@click.argument("name")
@click.option(
    "--input",
    "sources",
    type=INPUT_FILE,
    multiple=True,
    help="An input of the run, to find what is missing; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@takes(Store)
def command(*, name: str, sources: tuple[str, ...], as_json: bool, store: Store) -> None:
    """
    Prove that every record of run NAME is exactly one of done, rejected or pending.

    Exit code 5 and what to do where it is not. Changes nothing, and may look at a run at work; but
    rows that an `enqueue` under way has not come to are missing.
    """
    directory = RunDirectory(store.runs_dir, name)
    directory.check_exists()
    connection, notes = _connect(store, directory)
    ledger = Ledger(directory, connection)
    counts = ledger.compare(sources) if sources else None
    audit = Audit(
        run=name,
        done=ledger.done,
        rejected=ledger.rejected,
        pending=None if connection is None else ledger.pending,
        superseded=ledger.superseded,
        input=counts,
        findings=ledger.findings,
        notes=[*notes, *ledger.torn_tails(), *_unseen(directory, sources)],
    )
    report = asdict(audit)
    click.echo(orjson.dumps(report) if as_json else _text(report))
    _check(report, directory)


def _connect(store: Store, directory: RunDirectory) -> tuple[redis.Redis | None, list[str]]:
    """Connect to the run's server; say so where there is none and none was named."""
    try:
        return connect(url_of_run(store.server_url, directory.redis_path, Role.WATCHER)), []
    except UnavailableError as error:
        if store.redis_url is not None:
            raise
        return None, [f"nothing counts as pending, because Redis cannot be asked: {error}"]


def _unseen(directory: RunDirectory, sources: tuple[str, ...]) -> list[str]:
    """Say where missing records cannot be seen."""
    if sources:
        return []
    config = directory.read_config()
    names = " ".join(f"--input {source}" for source in config.inputs) if config else ""
    return [f"missing records cannot be seen without the run's inputs: {names}"]


def _text(report: dict[str, Any]) -> str:
    pending = "unknown" if report["pending"] is None else report["pending"]
    counts = f"{report['done']} done, {report['rejected']} rejected, pending {pending}"
    lines = [f"run {report['run']}: {counts}"]
    if report["input"]:
        lines.append(
            "  input: {rows} rows, of them {bad} bad, {duplicates} duplicates; "
            "{others} records are of no row of it".format(**report["input"])
        )
    if report["superseded"]:
        lines.append(f"  rejects lines of earlier attempts: {report['superseded']}")
    for kind, finding in report["findings"].items():
        lines += [f"  {kind}: {finding['count']}"] * bool(finding["count"])
        lines += [f"    {example}" for example in finding["examples"]]
    return in_lines([*lines, *(f"  note: {note}" for note in report["notes"])])


def _check(report: dict[str, Any], directory: RunDirectory) -> None:
    """Raise IncompleteError where anything was found."""
    found = {kind: found["count"] for kind, found in report["findings"].items() if found["count"]}
    if not found:
        return
    run = report["run"]
    enqueue = f"`contextvqa enqueue INPUT --run {run}`"
    if directory.redis_path.exists():
        enqueue = "the same `contextvqa run` again"
    # In order, each once.
    cures = dict.fromkeys(CURES[kind].format(enqueue=enqueue) for kind in found)
    what = ", ".join(f"{count} {kind}" for kind, count in found.items())
    raise IncompleteError(f"run {run!r} is not consistent: {what}; {'; '.join(cures)}.")
