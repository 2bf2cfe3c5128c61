"""`contextvqa alive`: whether this host's daemon of a queue works, for whoever watches containers."""

import socket

import click

from contextvqa.errors import UnavailableError
from contextvqa.options import takes
from contextvqa.queueing.claims import WORKER_TTL_S
from contextvqa.queueing.connection import connect
from contextvqa.queueing.job_hash import text_of
from contextvqa.queueing.queues import GENERATE, REFINE, claimants_key, worker_key
from contextvqa.queueing.reaper import host_identity
from contextvqa.queueing.transactions import ask
from contextvqa.settings import Server


@click.command()
@click.argument("queue", type=click.Choice([GENERATE, REFINE]))
@takes(Server)
def command(*, queue: str, server: Server) -> None:
    """
    Succeed if a daemon of this host, or container, on QUEUE has a fresh heartbeat on the server.

    Fails while a worker loads its model, and while the server is away.
    """
    connection = connect(server.server_url)
    processes = connection.hgetall(claimants_key(queue))
    here = [
        text_of(name)
        for name, process in processes.items()
        if text_of(process).partition("@")[2] == host_identity()
    ]
    replies = ask(connection, [("HMGET", worker_key(name), "birth", "death") for name in here])
    if not any(birth is not None and death is None for birth, death in replies):
        raise UnavailableError(
            f"no daemon of {socket.gethostname()} on queue {queue} had a heartbeat in the last "
            f"{WORKER_TTL_S} s; see what it says."
        )
