"""`contextvqa dashboard`: rq-dashboard for our queues, made safe to leave running."""

import logging
import signal
import sys
from importlib import import_module
from typing import Any

import click

from contextvqa.errors import UnavailableError
from contextvqa.listening import listen, shown
from contextvqa.logs.setup import configure_daemon
from contextvqa.options import takes
from contextvqa.passwords import read_password
from contextvqa.processes.server_socket import url_of_one_or_all
from contextvqa.progress import say
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from contextvqa.redis_url import DEFAULT_REDIS_URL, address
from contextvqa.settings import Listener, Logs, Store

#: Requests carry no body but a form's empty one.
MAX_BODY_BYTES = 64 << 10
#: Seconds after which a connection is closed that says nothing, and between two looks for such: a
#: hundred of them are as many as are let in.
SILENCE_S, LOOK_INTERVAL_S = 10, 2


@click.command()
@click.argument("name", required=False)
@takes(Store, Listener, Logs)
def command(*, name: str | None, store: Store, listener: Listener, logs: Logs) -> None:
    """
    Show queues, workers and jobs in a browser, until stopped; requeue failed jobs.

    With NAME, those of the embedded server of this run.
    """
    configure_daemon(logs)
    # It warns of every request that waits for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    create_app = _load("contextvqa.dashboard.app").create_app
    waitress = _load("waitress")
    url = url_of_one_or_all(name, store, Role.DASHBOARD)
    file = listener.password_file
    password = None if file is None else read_password(file, "--password-file")
    with (
        connect(url) as connection,
        listen(listener.host, listener.port, option="--port") as listening,
    ):
        app = create_app(
            connection,
            address=address(url or DEFAULT_REDIS_URL),
            is_local=listener.is_local,
            password=password,
        )
        server = waitress.create_server(
            app,
            sockets=[listening],
            ident=None,
            max_request_body_size=MAX_BODY_BYTES,
            channel_timeout=SILENCE_S,
            cleanup_interval=LOOK_INTERVAL_S,
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        port = listening.getsockname()[1]
        say(f"dashboard: http://{shown(listener.host)}:{port}/ (Ctrl-C stops it)")
        server.run()


def _load(module: str) -> Any:
    """Return a module of ours or others; only here, for what it needs is an extra."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"the dashboard needs the package {error.name}: pip install 'contextvqa[dashboard]'."
        ) from error
