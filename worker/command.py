"""`contextvqa worker`."""

import asyncio
import signal

import click

from contextvqa import logs
from contextvqa.daemon import ConcurrentWorker
from contextvqa.options import takes
from contextvqa.connection import connect_to_queue
from contextvqa.runs import Runs
from contextvqa.settings import Daemon, Engine, Images, Lifetime, Model, Store
from worker.engine import Engine as VLLMEngine
from worker.stage import Generate


@click.command()
@takes(Store, Model, Engine, Images, Daemon, Lifetime)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    store: Store,
    model: Model,
    engine: Engine,
    images: Images,
    daemon: Daemon,
    lifetime: Lifetime,
) -> None:
    """Own one vLLM engine and generate, until stopped."""
    logs.configure()
    connection = connect_to_queue(store.redis_url)
    # Until the worker drains on SIGTERM, it has claimed nothing: it ends like on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stage = Generate(VLLMEngine(model.model, engine), Runs(connection), images)
    asyncio.run(ConcurrentWorker(stage, connection, daemon, lifetime).serve())
