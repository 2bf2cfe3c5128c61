"""`contextvqa run`: the whole pipeline on this machine, from an input to a complete run."""

import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from contextvqa.errors import UsageError
from contextvqa.local_run import Commands, LocalRun
from contextvqa.logs.setup import configure_command
from contextvqa.options import INPUT_FILE, RUN, as_environment, as_flags, takes
from contextvqa.processes.server import EmbeddedServer
from contextvqa.progress import say, telling_how_to_resume
from contextvqa.queueing.connection import connect
from contextvqa.settings import (
    Daemon,
    Devices,
    Engine,
    Flow,
    Gates,
    Guards,
    Images,
    Logs,
    Model,
    Rejects,
    Sampling,
    Store,
)
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching.completion import check_rejects, summarize
from contextvqa.watching.state import RunWatcher


@click.command()
@click.argument("source", metavar="INPUT", type=INPUT_FILE)
@RUN
@takes(Store, Model, Sampling, Gates, Engine, Devices, Images, Flow, Guards, Daemon, Rejects, Logs)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    source: str,
    run: str,
    store: Store,
    model: Model,
    sampling: Sampling,
    gates: Gates,
    engine: Engine,
    devices: Devices,
    images: Images,
    flow: Flow,
    guards: Guards,
    daemon: Daemon,
    rejects: Rejects,
    logs: Logs,
) -> None:
    """
    Do everything on this machine: queue, worker, refiner. The same command resumes.

    Without --redis-url an embedded server runs for as long as the command, with its data in the
    run directory.
    """
    configure_command(logs, run=run)
    # A supervisor's SIGTERM stops the run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = RunDirectory(store.runs_dir, run)
    directory.check(model.model, sampling, gates.quality())
    began = time.monotonic()
    with ExitStack() as stack:
        directory.create()
        stack.enter_context(directory.alone())
        stack.enter_context(telling_how_to_resume())
        if store.redis_url is None:
            say("starting the embedded server")
            server = stack.enter_context(EmbeddedServer(directory.redis_path))
            store = replace(store, redis_url=server.url)
        watcher = RunWatcher(directory, connect(store.server_url))
        commands = Commands(
            environment=as_environment(store),
            enqueue=[
                *("enqueue", "--run", run, "--json", *as_flags(model)),
                *(*as_flags(sampling), *as_flags(gates), *as_flags(flow), "--", source),
            ],
            # A pipe can be read only once.
            is_input_lasting=Path(source).is_file(),
            worker=[
                *("worker", *as_flags(model), *as_flags(engine), *as_flags(devices)),
                *(*as_flags(images), *as_flags(guards), *as_flags(daemon), *as_flags(logs)),
                "--until-stdin-closes",
            ],
            refiner=["refiner", *as_flags(daemon), *as_flags(logs), "--until-stdin-closes"],
        )
        local = LocalRun(watcher, commands, drain_timeout_s=daemon.drain_timeout_s)
        state = local.complete()
    summarize(watcher, state, time.monotonic() - began)
    click.echo(directory.results_path)
    if local.num_bad_rows:
        raise UsageError(f"{local.num_bad_rows} rows of {source} are bad and were left out.")
    check_rejects(watcher, state, rejects)
