"""`contextvqa pause` and `contextvqa resume`."""

import click
import redis

from contextvqa.options import takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.queueing.connection import connect
from contextvqa.queueing.pauses import Pause, pause, resume
from contextvqa.queueing.roles import Role
from contextvqa.settings import Store
from contextvqa.storage.run_directory import RunDirectory


@click.command()
@click.argument("name")
@takes(Store)
def pause_command(*, name: str, store: Store) -> None:
    """Stop executing records of run NAME, until it is resumed. Its queue stays as it is."""
    connection = _connect(name, store)
    if not pause(connection, name, Pause.now("operator", "asked for", "contextvqa pause")):
        click.echo(f"run {name!r} was paused already", err=True)


@click.command()
@click.argument("name")
@takes(Store)
def resume_command(*, name: str, store: Store) -> None:
    """Go on with run NAME after a pause. Records rejected before it: contextvqa retry."""
    if not resume(_connect(name, store), name):
        click.echo(f"run {name!r} was not paused", err=True)


def _connect(run: str, store: Store) -> redis.Redis:
    directory = RunDirectory(store.runs_dir, run)
    directory.check_exists()
    return connect(url_of_run(store.server_url, directory.redis_path, Role.PRODUCER))
