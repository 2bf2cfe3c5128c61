"""`contextvqa refiner`."""

import asyncio

import click

from contextvqa.logs.setup import configure_daemon
from contextvqa.metrics.endpoint import open_sockets, serve
from contextvqa.options import takes
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.settings import Daemon, Lifetime, Logs, Metrics, Store
from refiner.stage import Refine


@click.command()
@takes(Store, Daemon, Lifetime, Metrics, Logs)
def command(
    *, store: Store, daemon: Daemon, lifetime: Lifetime, metrics: Metrics, logs: Logs
) -> None:
    """Parse generations and append the results, until stopped."""
    configure_daemon(logs)
    sockets = open_sockets(metrics)
    connection = connect_to_queue(store.server_url)
    stage = Refine(store.runs_dir)
    worker = ConcurrentWorker(stage, connection, daemon, lifetime)
    serve(sockets, 0, [worker.meter, stage.meter])
    asyncio.run(worker.serve())
