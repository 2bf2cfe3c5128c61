"""`contextvqa worker`."""

import asyncio
from dataclasses import replace

import click
import redis

from contextvqa.errors import NoServerError, UnavailableError
from contextvqa.logs.setup import configure_daemon
from contextvqa.metrics.endpoint import open_sockets, serve
from contextvqa.options import takes
from contextvqa.processes.supervisor import supervise
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.runs import Runs
from contextvqa.settings import (
    Daemon,
    Devices,
    Engine,
    Guards,
    Images,
    Lifetime,
    Logs,
    Metrics,
    Model,
    Server,
)
from worker import environment
from worker.decoders import Decoders
from worker.engine import Engine as VLLMEngine
from worker.occupancy import Occupancy, look_at
from worker.places import places_of
from worker.stage import Generate


@click.command()
@takes(Server, Model, Engine, Devices, Images, Guards, Daemon, Lifetime, Metrics, Logs)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    server: Server,
    model: Model,
    engine: Engine,
    devices: Devices,
    images: Images,
    guards: Guards,
    daemon: Daemon,
    lifetime: Lifetime,
    metrics: Metrics,
    logs: Logs,
) -> None:
    """
    Own a vLLM engine and generate, until stopped; start anew when the engine fails.

    With --gpus or --cpus one engine for each group of GPUs or cores, each in a process of its own.
    """
    configure_daemon(logs)
    places = places_of(devices, tensor_parallel_size=engine.tensor_parallel_size)
    sockets = open_sockets(metrics, len(places))
    number, pulse = supervise(
        [place.name for place in places],
        stall_timeout_s=guards.stall_timeout_s,
        drain_timeout_s=daemon.drain_timeout_s,
        until_stdin_closes=lifetime.until_stdin_closes,
    )
    # From here on this is a worker process, whose standard input is held by its supervisor.
    place = places[number]
    place.take()
    if logs.is_json:
        environment.log_as_json()
    lifetime = replace(lifetime, until_stdin_closes=True)
    connection = _connect(server)
    vllm = VLLMEngine(model.model, engine, stall_timeout_s=guards.stall_timeout_s)
    runs = Runs(connection)
    decoders = Decoders(images, num_cores=place.num_cores)
    stage = Generate(vllm, decoders, runs, images=images, guards=guards)
    worker = ConcurrentWorker(
        stage, connection, daemon, lifetime, guards=guards, place=place.name, pulse=pulse
    )
    occupancy = Occupancy(lambda: look_at(vllm, stage.meter, worker.meter))
    serve(sockets, number, [worker.meter, stage.meter, occupancy])
    asyncio.run(_run(worker, occupancy))


async def _run(worker: ConcurrentWorker, occupancy: Occupancy) -> None:
    looking = asyncio.create_task(occupancy.look_forever(), name="occupancy")
    try:
        await worker.serve()
    finally:
        looking.cancel()


def _connect(server: Server) -> redis.Redis:
    try:
        return connect_to_queue(server.server_url)
    except UnavailableError as error:
        raise NoServerError(str(error)) from error
