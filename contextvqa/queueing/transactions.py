"""
Many commands in one round trip, and one safe way to read and then write: WATCH, MULTI/EXEC.

redis-py buffers commands, connects and reads replies; commands are packed by hiredis itself, all at
once, which takes a quarter of the time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import hiredis
import redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError

from contextvqa.queueing.permissions import denied

T = TypeVar("T")
RedisCommand = tuple[Any, ...]


def ask(
    client: redis.Redis, commands: Sequence[RedisCommand], *, raise_on_error: bool = True
) -> list[Any]:
    """
    Send commands together and return their replies; others may come between them.

    Args:
        raise_on_error: Else a refused command's error is its reply.

    Raises:
        redis.RedisError: The connection broke, or the server refused one of the commands.

    """
    with _connection_of(client) as connection:
        replies = _exchange(connection, commands)
        return _checked(client, commands, replies) if raise_on_error else replies


def transact(
    client: redis.Redis,
    watched: Sequence[str],
    reads: Sequence[RedisCommand],
    write: Callable[[Pipeline, list[Any]], T],
) -> T:
    """
    Run `write` on what `reads` returned, in a transaction that fails if a watched key changed.

    Redis scripts would do too, but need rights that a locked-down server does not give.

    Args:
        watched: Keys that the decision in `write` rests on.
        reads: Commands, sent together.
        write: Buffers its commands on the pipeline. Called again after a conflict: it must have
            no other effect.

    Returns:
        What `write` returned on the call that was committed.

    Raises:
        redis.RedisError: The connection broke. Whether the transaction was committed is unknown;
            calling again is safe for a `write` that looks at what it read.

    """
    with _connection_of(client) as connection:
        while True:
            looks: list[RedisCommand] = [("WATCH", *watched), *reads]
            _, *replies = _checked(client, looks, _exchange(connection, looks))
            # Never executed: only a list of commands, with redis-py's names for them.
            buffer = client.pipeline()
            outcome = write(buffer, replies)
            if _commit(client, connection, [arguments for arguments, _ in buffer.command_stack]):
                return outcome


def _commit(client: redis.Redis, connection: Any, commands: Sequence[RedisCommand]) -> bool:
    """Execute commands in a transaction; return whether no watched key had changed."""
    sent: list[RedisCommand] = [("MULTI",), *commands, ("EXEC",)]
    replies = _checked(client, sent, _exchange(connection, sent))
    executed = replies[-1]
    if executed is None:
        return False
    _checked(client, commands, executed)
    return True


@contextmanager
def _connection_of(client: redis.Redis) -> Iterator[Any]:
    """Borrow a connection, and close it after an error: it may be watching keys."""
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        yield connection
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _exchange(connection: Any, commands: Sequence[RedisCommand]) -> list[Any]:
    """Send commands and read all of their replies, errors included."""
    connection.send_packed_command([b"".join(map(hiredis.pack_command, commands))])
    return [_read(connection) for _ in commands]


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _checked(
    client: redis.Redis, commands: Sequence[RedisCommand], replies: list[Any]
) -> list[Any]:
    """
    Raise the first error among replies; return them where there is none.

    An aborted EXEC names no cause, the command that was refused before it does.
    """
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, redis.ResponseError):
            is_denied = isinstance(reply, NoPermissionError)
            raise denied(client, reply, command) if is_denied else reply
    return replies
