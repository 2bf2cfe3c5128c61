"""A network that fails: a process between the children and the server, which passes bytes or not."""

import selectors
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from tests.faults.processes import fork
from tests.faults.tally import Tally

CHUNK_BYTES = 1 << 16
#: Between two looks at the mode, in seconds.
LOOK_S = 0.01
#: One way of a slow link, in seconds.
DELAY_S = 0.05
#: Closing with it resets the connection.
NO_LINGER = struct.pack("ii", 1, 0)


class Mode(IntEnum):
    """What becomes of bytes."""

    PASS = 0
    #: Connections are reset, new ones too.
    RESET = 1
    #: Nothing passes and nothing is said: a cable that was pulled.
    SILENCE = 2
    #: Everything passes late.
    SLOW = 3


class Proxy:
    """What the test holds of the process."""

    def __init__(self, port: int, mode: Tally) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._mode = mode

    def set(self, mode: Mode) -> None:
        """Change the network for all connections."""
        self._mode.value = mode


@contextmanager
def proxy_to(port: int, log: Path) -> Iterator[Proxy]:
    """Run a proxy to a local server."""
    mode = Tally()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = fork("proxy", lambda: _Relay(listener, port, mode).run(), log)
        try:
            yield Proxy(listener.getsockname()[1], mode)
        finally:
            child.kill()


class _Relay:
    """Passes bytes between pairs of sockets, as the mode says."""

    def __init__(self, listener: socket.socket, port: int, mode: Tally) -> None:
        self._listener = listener
        self._port = port
        self._mode = mode
        self._selector = selectors.DefaultSelector()
        self._others: dict[socket.socket, socket.socket] = {}

    def run(self) -> int:
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            mode = Mode(self._mode.value)
            if mode is Mode.SILENCE:
                time.sleep(LOOK_S)
                continue
            for key, _ in self._selector.select(LOOK_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._others:
                    self._pass_on(key.fileobj, mode)
            if mode is Mode.RESET:
                for one in list(self._others):
                    self._close(one)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._port))
        for one, other in ((near, far), (far, near)):
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket, mode: Mode) -> None:
        try:
            data = source.recv(CHUNK_BYTES)
            if mode is Mode.SLOW:
                time.sleep(DELAY_S)
            if data and mode is not Mode.RESET:
                self._others[source].sendall(data)
                return
        except OSError:
            pass  # either end has closed; so do we
        self._close(source)

    def _close(self, one: socket.socket) -> None:
        other = self._others.pop(one, None)
        if other is None:
            return
        del self._others[other]
        for end in (one, other):
            self._selector.unregister(end)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            end.close()
