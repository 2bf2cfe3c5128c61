"""Where runs and queues live."""

from dataclasses import dataclass
from pathlib import Path

import click

from contextvqa.options import setting
from contextvqa.passwords import read_password
from contextvqa.redis_url import DEFAULT_REDIS_URL, with_password


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Where runs live."""

    runs_dir: Path = setting(
        Path("runs"), "Directory of the run directories.", kind=click.Path(path_type=Path)
    )


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where queues live."""

    redis_url: str | None = setting(
        None,
        "Redis server, redis://, rediss:// or unix://. "
        f"Default: {DEFAULT_REDIS_URL}; for a run with an embedded server, and in `run`, that one.",
    )
    redis_password_file: Path | None = setting(
        None,
        "File whose one line is the password of --redis-url, which then stands neither on a "
        "command line nor in the environment.",
        kind=click.Path(path_type=Path),
    )

    def __post_init__(self) -> None:
        if self.redis_password_file is not None and self.redis_url is None:
            raise ValueError("--redis-password-file needs the --redis-url that it is for.")

    @property
    def server_url(self) -> str | None:
        """
        The URL to connect to, with the password: for no command line and no message.

        Raises:
            UsageError: The password file holds no password, or the URL has one besides.

        """
        if self.redis_url is None or self.redis_password_file is None:
            return self.redis_url
        password = read_password(self.redis_password_file, "--redis-password-file")
        return with_password(self.redis_url, password)


@dataclass(frozen=True, kw_only=True)
class Store(Server, Disk):
    """Where runs and queues live. None of the three has slots: Python joins no two that do."""
