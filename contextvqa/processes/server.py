"""
The embedded server: a Redis or Valkey of one run directory, reached over a Unix socket.

What stands in its directory, which nobody else may enter:

    appendonlydir/  every write of the run, synced once a second
    users.acl       who may do what: one user per role, without passwords
    redis.log       what the server said, over all its starts
    redis.sock      here, or in the temporary directory where this path is too long for a socket
    lock            held by the server itself while it lives: two never share a directory
"""

import fcntl
import os
import subprocess
import time
from pathlib import Path
from typing import IO, Self

from contextvqa.errors import UnavailableError
from contextvqa.processes.server_program import find_server
from contextvqa.processes.server_socket import ask, socket_path, url_of
from contextvqa.queueing.roles import Role, users_acl

#: Between two looks at a server that is on its way up or down.
POLL_S = 0.01

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class EmbeddedServer:
    """
    The server of one directory, as a context manager.

    It runs in its own session, so that Ctrl-C in the terminal reaches only the caller, who stops
    it last. A caller that is killed leaves it running; the next one adopts it.

    Args:
        directory: `<run directory>/redis`. Created by `start`, for this user alone.
        start_timeout_s: How long a server may stay silent at start. While it says that it is
            still loading its data it gets all the time it needs.
        stop_timeout_s: How long it may take to sync and exit before it is killed.

    """

    def __init__(
        self, directory: Path, *, start_timeout_s: float = 30.0, stop_timeout_s: float = 10.0
    ) -> None:
        self._directory = directory.resolve()
        self._socket = socket_path(self._directory)
        self._lock_path = self._directory / "lock"
        self._log_path = self._directory / "redis.log"
        self._users_path = self._directory / "users.acl"
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the server listens, in the form that `redis.from_url` reads; may do anything."""
        return url_of(self._socket)

    def url_for(self, role: Role) -> str:
        """Return the same for the user of a role."""
        return url_of(self._socket, role)

    def start(self) -> None:
        """
        Return once a server answers: one that already runs here, else a new one.

        Raises:
            UnavailableError: No server is installed, it ended at once, or it stayed silent.

        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            with self._lock_path.open("ab") as lock:
                self._wait_until_up(lock)
        except BaseException as error:
            self._end_own()
            if isinstance(error, OSError):
                raise UnavailableError(f"The embedded server cannot start: {error}.") from error
            raise

    def stop(self) -> None:
        """
        Stop the server of this directory, started or adopted. Its data are synced first.

        Without effect where none runs. An adopted one that does not end in time is left to end.
        """
        if self._process is not None:
            self._end_own()
            return
        # By command and not by signal: its pid may count in another container.
        ask(self._socket, b"SHUTDOWN NOSAVE")
        deadline = time.monotonic() + self._stop_timeout_s
        while self._is_locked() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_up(self, lock: IO[bytes]) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while (answer := ask(self._socket, b"PING")) != b"+PONG":
            now = time.monotonic()
            if answer.startswith(b"-LOADING"):
                deadline = now + self._start_timeout_s
            elif self._process is None and _try_lock(lock):
                self._process = self._launch(lock)
            elif self._process is not None and self._process.poll() is not None:
                raise UnavailableError(
                    f"The embedded server ended at once: {self._last_words()} (see {self._log_path})."
                )
            elif now > deadline:
                raise UnavailableError(
                    f"The server that holds {self._lock_path} does not answer PING at "
                    f"{self._socket} as it should ({answer.decode(errors='replace') or 'silence'}): "
                    f"end it, or see {self._log_path}."
                )
            time.sleep(POLL_S)

    def _launch(self, lock: IO[bytes]) -> subprocess.Popen[bytes]:
        # Whoever can open the socket is this user, from whom no password here would keep anything.
        self._users_path.write_text(users_acl("on nopass ~* &* +@all", lambda _: "nopass"))
        command = [str(find_server()), "--dir", str(self._directory)]
        command += ["--unixsocket", str(self._socket), "--aclfile", str(self._users_path)]
        for name, value in OPTIONS.items():
            command += [f"--{name}", value]
        with self._log_path.open("ab") as log:
            # The lock's descriptor goes along: the kernel frees it when the server is gone,
            # however that happens, and not when this process is.
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Redis 7.2 and later end at once under a locale that is not installed.
                env={**os.environ, "LC_ALL": "C"},
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )

    def _end_own(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _is_locked(self) -> bool:
        try:
            with self._lock_path.open("r+b") as lock:
                return not _try_lock(lock)
        except FileNotFoundError:
            return False

    def _last_words(self) -> str:
        lines = self._log_path.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
