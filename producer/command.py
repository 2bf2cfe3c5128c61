"""`contextvqa enqueue`: the producer."""

import os
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain

import click
import orjson
import redis

from contextvqa.errors import UsageError
from contextvqa.logs.setup import configure_command
from contextvqa.options import INPUT_FILE, RUN, takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.progress import say
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.patience import persist
from contextvqa.queueing.roles import Role
from contextvqa.queueing.runs import Runs
from contextvqa.run_config import RunConfig
from contextvqa.settings import Flow, Gates, Logs, Model, Sampling, Store
from contextvqa.storage.run_directory import RunDirectory
from producer.enqueue import Counts, Enqueuer
from producer.room import Room
from producer.rows import BadRow, read_rows


@click.command()
@click.argument("source", metavar="INPUT", type=INPUT_FILE)
@RUN
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON on stdout.")
@takes(Store, Model, Sampling, Gates, Flow, Logs)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    source: str,
    run: str,
    as_json: bool,
    store: Store,
    model: Model,
    sampling: Sampling,
    gates: Gates,
    flow: Flow,
    logs: Logs,
) -> None:
    """
    Put the records of INPUT into the queue: a JSON array or JSONL file, or - for JSONL on stdin.

    What is done or already queued is skipped, so the same command may be repeated at any time.
    Bad rows are reported one line each and end the command with exit code 2; good rows enter.
    """
    configure_command(logs, run=run)
    rows = read_rows(source)
    # A file that is no input at all is refused here, before the run is begun.
    rows = chain([next(rows)], rows)
    directory = RunDirectory(store.runs_dir, run)
    connection = connect_to_queue(url_of_run(store.server_url, directory.redis_path, Role.PRODUCER))
    # A file's name may be any bytes; run.json is text.
    name = os.fsencode(source).decode("utf-8", "replace")
    runs = _begin(
        directory,
        connection,
        lambda: directory.begin(model.model, sampling, name, gates.quality()),
    )
    enqueuer = Enqueuer(connection, directory, runs)
    room = Room(connection, run, flow.high_water)
    counts = enqueuer.enqueue(
        rows,
        _report,
        make_room=lambda: persist(room.wait, _summary(enqueuer.counts)),
        tick=lambda: room.tick(_summary(enqueuer.counts)),
    )
    say(_summary(counts))
    if as_json:
        click.echo(orjson.dumps(asdict(counts)))
    if counts.bad:
        raise UsageError(f"{counts.bad} of {counts.rows} rows are bad and were left out.")


def _begin(
    directory: RunDirectory, connection: redis.Redis, begin: Callable[[], RunConfig]
) -> Runs:
    """Write the run down in its directory and in Redis, or in neither."""
    is_new = not directory.exists()
    config = begin()
    runs = Runs(connection)
    try:
        persist(runs.store, config)
    except UsageError:
        if is_new:
            directory.config_path.unlink()
        raise
    return runs


def _report(row: BadRow) -> None:
    say(f"row {row.number}: {row.message}")


def _summary(counts: Counts) -> str:
    return (
        f"{counts.rows} rows: {counts.enqueued} enqueued, {counts.live} already queued, "
        f"{counts.done} already done, {counts.duplicates} duplicates, {counts.bad} bad"
    )
