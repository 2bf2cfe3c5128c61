"""
Faults at an exact point of a child: each function returns a patch that the child applies to itself.

Points are numbered by what a process sends to Redis. A first run without a fault counts them.
"""

import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.connection import AbstractConnection

from contextvqa.storage.sink import Line, Sink
from tests.faults.processes import Patch
from tests.faults.tally import Tally

#: Longest that a server may take to answer before its answer counts as lost, in seconds.
ANSWER_S = 10.0

Send = Callable[..., None]
Act = Callable[[Send, AbstractConnection, Any], None]


def count_sends(tally: Tally, *, exec_only: bool = False) -> Patch:
    """Count what the child sends."""
    return _at_send(-1, _pass_on, tally, exec_only=exec_only)


def kill_at_send(number: int, *, after: bool) -> Patch:
    """Kill the child just before or just after a send."""

    def act(send: Send, connection: AbstractConnection, command: Any) -> None:
        if after:
            send(connection, command)
        os.kill(os.getpid(), signal.SIGKILL)

    return _at_send(number, act, Tally())


def lose_reply_at_exec(number: int, tally: Tally) -> Patch:
    """Break the connection when the server has executed a transaction and answers."""

    def act(send: Send, connection: AbstractConnection, command: Any) -> None:
        send(connection, command)
        select.select([connection._sock], [], [], ANSWER_S)
        connection.disconnect()
        raise redis.ConnectionError("the reply was lost")

    return _at_send(number, act, tally, exec_only=True)


def reset_at_exec(number: int, tally: Tally) -> Patch:
    """Break the connection before a transaction reaches the server."""

    def act(_send: Send, connection: AbstractConnection, _command: Any) -> None:
        connection.disconnect()
        raise redis.ConnectionError("the connection was reset")

    return _at_send(number, act, tally, exec_only=True)


def stop_at_exec(number: int) -> Patch:
    """Stop the child when it has looked, and before what it writes leaves it."""

    def act(send: Send, connection: AbstractConnection, command: Any) -> None:
        _stop()
        send(connection, command)

    return _at_send(number, act, Tally(), exec_only=True)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.05)  # the signal takes effect on this thread a little later


def _pass_on(send: Send, connection: AbstractConnection, command: Any) -> None:
    send(connection, command)


def _at_send(number: int, act: Act, tally: Tally, *, exec_only: bool = False) -> Patch:
    def patch() -> None:
        send = AbstractConnection.send_packed_command
        numbers = itertools.count()

        def send_packed_command(
            connection: AbstractConnection,
            command: Any,
            check_health: bool = True,
        ) -> None:
            if exec_only and not _is_exec(command):
                send(connection, command, check_health)
                return
            current = next(numbers)
            tally.value = current + 1
            if current == number:
                act(send, connection, command)
            else:
                send(connection, command, check_health)

        AbstractConnection.send_packed_command = send_packed_command  # type: ignore[method-assign]

    return patch


def _is_exec(command: Any) -> bool:
    chunks = [command] if isinstance(command, bytes | str) else list(command)
    return any(b"\r\nEXEC\r\n" in bytes(chunk) for chunk in chunks)


def stop_before_write() -> Patch:
    """Stop the child, as a debugger or a hypervisor may, before its first append takes the lock."""
    numbers = itertools.count()

    def patch() -> None:
        append = Sink.append

        def stopping(self: Sink, lines: Sequence[Line]) -> int:
            if next(numbers) == 0:
                _stop()
            return append(self, lines)

        Sink.append = stopping  # type: ignore[method-assign]

    return patch
