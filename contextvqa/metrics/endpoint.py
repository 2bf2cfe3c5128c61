"""Where a process shows its metrics: an HTTP server on a thread, which Prometheus asks."""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.registry import Collector

from contextvqa.listening import address_of, listen
from contextvqa.settings import Metrics

log = logging.getLogger("contextvqa")

#: Seconds that whoever has connected may take to ask.
REQUEST_TIMEOUT_S = 10.0


def open_sockets(metrics: Metrics, number: int = 1) -> list[socket.socket]:
    """
    Return what a number of processes of this host listen on, one port after another; none unasked.

    Opened before anything else is begun: a port that is taken must not show after minutes of
    loading. Until `serve`, whoever connects waits.

    Raises:
        UnavailableError, UsageError: As `listen`. None is left open.

    """
    if metrics.metrics_port is None:
        return []
    opened: list[socket.socket] = []
    try:
        for place in range(number):
            port = metrics.after(place).metrics_port or 0
            opened.append(listen(metrics.metrics_host, port, option="--metrics-port"))
    except Exception:
        for each in opened:
            each.close()
        raise
    return opened


def serve(
    sockets: Sequence[socket.socket],
    number: int,
    collectors: Sequence[Collector],
    *,
    tell: Callable[[str], None] = log.info,
) -> None:
    """
    Serve what these collectors tell, on one of the sockets, until the process ends.

    Args:
        sockets: Of `open_sockets`. The others are those of other processes, and are closed here.
        tell: Is told where.

    """
    if not sockets:
        return
    for other in (*sockets[:number], *sockets[number + 1 :]):
        other.close()
    # Not the default registry: what a library counts for itself is not ours to show.
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    server = _Server(sockets[number], registry)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    tell(f"metrics: http://{address_of(sockets[number])}/metrics")


class _Server(ThreadingHTTPServer):
    """Answers on a socket that listens already, several at once: one that is slow is no other's."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, registry: CollectorRegistry) -> None:
        handler = MetricsHandler.factory(registry)
        handler.timeout = REQUEST_TIMEOUT_S  # type: ignore[attr-defined] # of its base class
        super().__init__(listening.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of whoever has gone before the answer: it asks again."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
