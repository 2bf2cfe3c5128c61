"""`contextvqa worker`."""

import asyncio
from dataclasses import replace

import click

from contextvqa import logs
from contextvqa.connection import connect_to_queue
from contextvqa.daemon import ConcurrentWorker
from contextvqa.options import takes
from contextvqa.runs import Runs
from contextvqa.settings import Daemon, Engine, Guards, Images, Lifetime, Model, Store
from contextvqa.supervisor import supervise
from worker.decoders import Decoders
from worker.engine import Engine as VLLMEngine
from worker.stage import Generate


@click.command()
@takes(Store, Model, Engine, Images, Guards, Daemon, Lifetime)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    store: Store,
    model: Model,
    engine: Engine,
    images: Images,
    guards: Guards,
    daemon: Daemon,
    lifetime: Lifetime,
) -> None:
    """Own one vLLM engine and generate, until stopped; start anew when the engine fails."""
    logs.configure()
    pulse = supervise(
        stall_timeout_s=guards.stall_timeout_s,
        drain_timeout_s=daemon.drain_timeout_s,
        until_stdin_closes=lifetime.until_stdin_closes,
    )
    # From here on this is a worker process, whose standard input is held by its supervisor.
    lifetime = replace(lifetime, until_stdin_closes=True)
    connection = connect_to_queue(store.server_url)
    vllm = VLLMEngine(model.model, engine, stall_timeout_s=guards.stall_timeout_s)
    runs = Runs(connection)
    stage = Generate(vllm, Decoders(images), runs, images=images, guards=guards)
    worker = ConcurrentWorker(stage, connection, daemon, lifetime, guards=guards, pulse=pulse)
    asyncio.run(worker.serve())
