"""Sockets that listen: where, and what is said when that cannot be."""

import errno
import socket

from contextvqa.errors import UnavailableError, UsageError


def listen(host: str, port: int, *, option: str) -> socket.socket:
    """
    Return a socket that listens.

    Args:
        port: 0 for any free one.
        option: Names the port on the command line.

    Raises:
        UnavailableError: The port is taken.
        UsageError: This machine has no such address, or this user no right to the port.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        where = f"{shown(host)}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(f"{where} is in use; choose another {option}.") from error
        raise UsageError(f"cannot listen on {where}: {error.strerror}.") from error


def address_of(listening: socket.socket) -> str:
    """Return where a socket listens, as URLs write it."""
    host, port = listening.getsockname()[:2]
    return f"{shown(host)}:{port}"


def shown(host: str) -> str:
    """Return a host as URLs write it."""
    return f"[{host}]" if ":" in host else host
