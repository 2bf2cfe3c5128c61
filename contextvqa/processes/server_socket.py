"""Where the embedded server of a directory listens, and what it answers."""

import hashlib
import os
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from contextvqa.errors import UnavailableError
from contextvqa.queueing.roles import Role
from contextvqa.settings import Store
from contextvqa.storage.run_directory import RunDirectory

#: `sun_path` holds 108 bytes with its closing zero.
MAX_SOCKET_PATH_BYTES = 107
#: A live server answers PING at once; one that is stopped or swapped out does not.
ANSWER_TIMEOUT_S = 1.0


def url_of_run(redis_url: str | None, directory: Path, role: Role) -> str | None:
    """
    Return where a run's server is: the one that was asked for, else the run's embedded one.

    Args:
        redis_url: None where the user named none.
        directory: `<run directory>/redis`.
        role: Whose user of the embedded server it is for.

    Returns:
        None for a run that never had an embedded server.

    Raises:
        UnavailableError: The run's embedded server is not running. Another server, were there one
            at the default address, would know nothing of the run.

    """
    if redis_url is not None or not directory.exists():
        return redis_url
    if running_url(directory) is None:
        raise UnavailableError(
            f"the embedded server of {directory.parent} is not running; `contextvqa run` starts "
            "it, or name another with --redis-url."
        )
    return url_of(socket_path(directory.resolve()), role)


def url_of_one_or_all(run: str | None, store: Store, role: Role) -> str | None:
    """
    Return where one run's server is; of all runs, where no name is given, the one asked for.

    Raises:
        UnavailableError: As `url_of_run`.
        UsageError: There is no such run.

    """
    if run is None:
        return store.server_url
    directory = RunDirectory(store.runs_dir, run)
    directory.check_exists()
    return url_of_run(store.server_url, directory.redis_path, role)


def running_url(directory: Path) -> str | None:
    """Return the URL of the embedded server of this directory if it runs and answers now."""
    path = socket_path(directory.resolve())
    return url_of(path) if ask(path, b"PING") == b"+PONG" else None


def socket_path(directory: Path) -> Path:
    """Return where the server of a directory listens: there, where the path is short enough."""
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


def url_of(path: Path, role: Role | None = None) -> str:
    """Return the URL of a socket for a role's user, in the form that `redis.from_url` reads."""
    user = f"{role}@" if role else ""
    return f"unix://{user}{quote(os.fsencode(path))}?db=0"


def ask(path: Path, command: bytes) -> bytes:
    """Return the first line of the server's answer, b"" where there is no server or no answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(os.fsencode(path))
            connection.sendall(command + b"\r\n")
            return connection.recv(1024).split(b"\r\n")[0]
    except OSError:
        return b""
