"""`contextvqa refiner`."""

import asyncio

import click

from contextvqa import logs
from contextvqa.options import takes
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.settings import Daemon, Lifetime, Store
from refiner.stage import Refine


@click.command()
@takes(Store, Daemon, Lifetime)
def command(*, store: Store, daemon: Daemon, lifetime: Lifetime) -> None:
    """Parse generations and append the results, until stopped."""
    logs.configure()
    connection = connect_to_queue(store.server_url)
    asyncio.run(ConcurrentWorker(Refine(store.runs_dir), connection, daemon, lifetime).serve())
