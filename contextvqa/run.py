"""`contextvqa run`: the whole pipeline on this machine, from an input to a complete run."""

import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from contextvqa.errors import UsageError
from contextvqa.local_run import CommandLine, Commands, LocalRun
from contextvqa.logs.setup import configure_command
from contextvqa.metrics.endpoint import open_sockets, serve
from contextvqa.options import INPUT_FILE, RUN, as_environment, as_flags, takes
from contextvqa.processes.server import EmbeddedServer
from contextvqa.progress import say, telling_how_to_resume
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from contextvqa.settings import (
    Daemon,
    Devices,
    Engine,
    Flow,
    Gates,
    Guards,
    Images,
    Logs,
    Metrics,
    Model,
    Rejects,
    Sampling,
    Store,
)
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching.aggregate import Aggregate
from contextvqa.watching.completion import check_rejects, summarize
from contextvqa.watching.state import RunWatcher


@click.command()
@click.argument("source", metavar="INPUT", type=INPUT_FILE)
@RUN
@takes(
    *(Store, Model, Sampling, Gates, Engine, Devices, Images, Flow, Guards, Daemon, Metrics),
    *(Rejects, Logs),
)
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
    metrics: Metrics,
    rejects: Rejects,
    logs: Logs,
) -> None:
    """
    Do everything on this machine: queue, worker, refiner. The same command resumes.

    Without --redis-url an embedded server runs for as long as the command, with its data in the
    run directory. At --metrics-port are the metrics of the run, at the next port those of its
    refiner, from the one after on those of its workers.
    """
    configure_command(logs, run=run)
    # A supervisor's SIGTERM stops the run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = RunDirectory(store.runs_dir, run)
    directory.check(model.model, sampling, gates.quality())
    of_run = as_flags(model, sampling, gates, flow)
    enqueue = ["enqueue", "--run", run, "--json", *of_run, "--", source]
    of_worker = as_flags(model, engine, devices, images, guards, daemon, metrics.after(2), logs)
    worker = ["worker", *of_worker, "--until-stdin-closes"]
    of_refiner = as_flags(daemon, metrics.after(1), logs)
    refiner = ["refiner", *of_refiner, "--until-stdin-closes"]
    sockets = open_sockets(metrics)
    began = time.monotonic()
    with ExitStack() as stack:
        directory.create()
        stack.enter_context(directory.alone())
        stack.enter_context(telling_how_to_resume())
        if store.redis_url is None:
            say("starting the embedded server")
            server = stack.enter_context(EmbeddedServer(directory.redis_path))
            stores = {role: replace(store, redis_url=server.url_for(role)) for role in Role}
        else:
            stores = dict.fromkeys(Role, store)
        connection = connect(stores[Role.PRODUCER].server_url)
        watcher = RunWatcher(directory, connection)
        aggregate = Aggregate(store.runs_dir, run, connection, is_for_all=True)
        serve(sockets, 0, [aggregate], tell=say)
        commands = Commands(
            enqueue=CommandLine(enqueue, as_environment(stores[Role.PRODUCER])),
            # A pipe can be read only once.
            is_input_lasting=Path(source).is_file(),
            worker=CommandLine(worker, as_environment(stores[Role.WORKER])),
            refiner=CommandLine(refiner, as_environment(stores[Role.REFINER])),
        )
        local = LocalRun(watcher, commands, drain_timeout_s=daemon.drain_timeout_s)
        state = local.complete()
    summarize(watcher, state, time.monotonic() - began)
    click.echo(directory.results_path)
    if local.num_bad_rows:
        raise UsageError(f"{local.num_bad_rows} rows of {source} are bad and were left out.")
    check_rejects(watcher, state, rejects)
