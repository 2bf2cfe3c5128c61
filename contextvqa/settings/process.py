"""What any process shows of itself, and takes."""

import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import click

from contextvqa.errors import UsageError
from contextvqa.options import setting
from contextvqa.settings.checks import refuse_below_one

MAX_PORT = 65_535
#: What log lines are written as.
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Logs:
    """How a command says what happens."""

    log_format: LogFormat = setting(
        "text",
        "Lines on stderr: text for people, or json, an object a line, whoever prints it.",
        kind=click.Choice(get_args(LogFormat)),
    )

    @property
    def is_json(self) -> bool:
        """Whether each line is a JSON object."""
        return self.log_format == "json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Where a process shows its metrics to Prometheus."""

    metrics_host: str = setting(
        "127.0.0.1", "Address at which metrics are served: no password protects them."
    )
    metrics_port: int | None = setting(
        None,
        "Port at which metrics are served, 0 for any free one. Of several worker processes, the "
        "port of the first. Default: daemons serve none, `contextvqa metrics` at 9400.",
        kind=int,
    )

    def __post_init__(self) -> None:
        if self.metrics_port is not None and not 0 <= self.metrics_port <= MAX_PORT:
            raise ValueError(f"--metrics-port is {self.metrics_port}; it must be 0 to {MAX_PORT}.")

    def after(self, number: int) -> "Metrics":
        """
        Return the same so many ports further on; where any port will do, or none, the same.

        Raises:
            UsageError: There is no such port.

        """
        if not self.metrics_port:
            return self
        port = self.metrics_port + number
        if port > MAX_PORT:
            raise UsageError(
                f"--metrics-port is {self.metrics_port}, and {port} is needed as well."
            )
        return replace(self, metrics_port=port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cores:
    """How much of a machine a command takes."""

    jobs: int | None = setting(
        None, "Processes that work at once. Default: the cores this one may use.", kind=int
    )

    def __post_init__(self) -> None:
        refuse_below_one(self, "jobs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Where the dashboard listens, and whom it lets in."""

    host: str = setting(
        "127.0.0.1", "Address to listen on. Any but this machine's own needs --password-file."
    )
    port: int = setting(9181, "Port to listen on; 0 is any free one.")
    password_file: Path | None = setting(
        None,
        "File whose one line is the password that browsers ask for, with any user name.",
        kind=click.Path(path_type=Path),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"--port is {self.port}; it must be 0 to {MAX_PORT}.")
        if self.password_file is None and not self.is_local:
            raise ValueError(
                f"--host {self.host} may be reached from other machines, so it needs a "
                "--password-file; without one listen on 127.0.0.1."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host, as an address or by the one name that all machines share, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
