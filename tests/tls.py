"""TLS in front of a server that speaks none: certificates of an authority of ours, and real handshakes."""

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    """A certificate authority, and the certificate of `localhost` that it has signed."""

    #: What a client has to know.
    ca: Path
    certificate: Path
    key: Path


def make_authority(directory: Path) -> Authority:
    """Make an authority and its one certificate."""
    assert shutil.which("openssl"), "no `openssl`, which signs certificates: apt install openssl"
    directory.mkdir()
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    new += ("-nodes", "-days", "1")
    ca = ("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    signed = ("-keyout", "localhost.key", "-out", "localhost.pem", "-subj", "/CN=localhost")
    signed += ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost")
    signed += ("-addext", "basicConstraints=critical,CA:FALSE")
    for options in (ca, signed):
        subprocess.run([*new, *options], cwd=directory, check=True, capture_output=True)
    return Authority(
        ca=directory / "ca.pem",
        certificate=directory / "localhost.pem",
        key=directory / "localhost.key",
    )


class TLSFront:
    """Takes TLS connections on a port of 127.0.0.1, and passes what they say on to a Unix socket."""

    def __init__(self, authority: Authority, socket: Path, *, asks_clients: bool) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
        self._context.load_cert_chain(authority.certificate, authority.key)
        if asks_clients:
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in a thread for as long as the context."""
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(server.close)
            self.cut()
            asyncio.run_coroutine_threadsafe(self._settled(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def cut(self) -> None:
        """Break all connections there are."""

        def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._socket)
        ends = {writer, to_server}
        self._writers |= ends
        await asyncio.wait(
            [
                asyncio.create_task(_pass_on(reader, to_server)),
                asyncio.create_task(_pass_on(from_server, writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for end in ends:
            end.transport.abort()
        self._writers -= ends

    async def _settled(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 10)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # an end is gone: so is the other, soon
