"""`contextvqa metrics`: what Redis and the files of runs tell, for Prometheus."""

import signal
import sys
import threading
from dataclasses import replace

import click

from contextvqa.logs.setup import configure_daemon
from contextvqa.metrics.endpoint import open_sockets, serve
from contextvqa.options import takes
from contextvqa.processes.server_socket import url_of_one_or_all
from contextvqa.progress import ReadProgress
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from contextvqa.settings import Logs, Metrics, Store
from contextvqa.watching.aggregate import Aggregate

#: Port of the endpoint, unless another is asked for.
DEFAULT_PORT = 9400


@click.command()
@click.argument("name", required=False)
@takes(Store, Metrics, Logs)
def command(*, name: str | None, store: Store, metrics: Metrics, logs: Logs) -> None:
    """
    Serve the metrics of all runs and of their queues, until stopped.

    With NAME those of this run, on its embedded server if it has one.
    """
    configure_daemon(logs)
    if metrics.metrics_port is None:
        metrics = replace(metrics, metrics_port=DEFAULT_PORT)
    sockets = open_sockets(metrics)
    with connect(url_of_one_or_all(name, store, Role.WATCHER)) as connection:
        is_for_all = name is not None or store.redis_url is not None
        aggregate = Aggregate(store.runs_dir, name, connection, is_for_all=is_for_all)
        with ReadProgress("counting the lines of the runs") as progress:
            aggregate.read(progress.show)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        serve(sockets, 0, [aggregate])
        threading.Event().wait()
