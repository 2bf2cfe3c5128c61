"""`contextvqa refiner`."""

import asyncio

import click

from contextvqa.logs.setup import configure_daemon
from contextvqa.options import takes
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.settings import Daemon, Lifetime, Logs, Store
from refiner.stage import Refine


@click.command()
@takes(Store, Daemon, Lifetime, Logs)
def command(*, store: Store, daemon: Daemon, lifetime: Lifetime, logs: Logs) -> None:
    """Parse generations and append the results, until stopped."""
    configure_daemon(logs)
    connection = connect_to_queue(store.server_url)
    asyncio.run(ConcurrentWorker(Refine(store.runs_dir), connection, daemon, lifetime).serve())
