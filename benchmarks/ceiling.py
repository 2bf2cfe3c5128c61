"""What the server itself can do: pipelined commands per second, with nothing else in the way."""

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmarks.figures import Contender
from contextvqa.processes.server import EmbeddedServer

#: Commands sent in one write, as many as our worker's larger transactions have.
BATCH = 1_000
#: Bytes of each value: a field of a job, not its whole payload.
VALUE_BYTES = 100
REPLY = b"+OK\r\n"


class Ceiling(Contender):
    """SET after SET on one connection; the client only writes prepared bytes and counts replies."""

    name = "server_alone"

    def __init__(self, scale: float) -> None:
        self._num_batches = max(1, round(1_000 * scale))
        self.size = f"{self._num_batches * BATCH:,} SETs"

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Send all of it, one batch at a time."""
        batch = b"".join(_set(number) for number in range(BATCH))
        with (
            EmbeddedServer(directory / "redis") as server,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            connection.connect(unquote(urlsplit(server.url).path))
            began = time.monotonic()
            for _ in range(self._num_batches):
                connection.sendall(batch)
                _read_exactly(connection, BATCH * len(REPLY))
            elapsed_s = time.monotonic() - began
        return {"commands_per_s": self._num_batches * BATCH / elapsed_s}


def _set(number: int) -> bytes:
    parts = (b"SET", b"key:%d" % number, b"v" * VALUE_BYTES)
    return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read_exactly(connection: socket.socket, num_bytes: int) -> None:
    while num_bytes > 0:
        num_bytes -= len(connection.recv(num_bytes))
