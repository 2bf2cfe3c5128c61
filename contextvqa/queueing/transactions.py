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

from contextvqa.queueing.refusals import refused

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
        replies = _exchange(client, connection, commands)
        return _checked(replies) if raise_on_error else replies


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
            _, *replies = _checked(_exchange(client, connection, [("WATCH", *watched), *reads]))
            # Never executed: only a list of commands, with redis-py's names for them.
            buffer = client.pipeline()
            outcome = write(buffer, replies)
            if _commit(client, connection, [arguments for arguments, _ in buffer.command_stack]):
                return outcome


def _commit(client: redis.Redis, connection: Any, commands: Sequence[RedisCommand]) -> bool:
    """Execute commands in a transaction; return whether no watched key had changed."""
    *queued, executed = _exchange(client, connection, [("MULTI",), *commands, ("EXEC",)])
    # The server says of each command whether it takes it, and of all what came of them: an
    # aborted EXEC names no cause, the command that was refused does.
    _checked(queued)
    _checked([executed])
    if executed is None:
        return False
    _checked(_named(client, commands, executed))
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


def _exchange(client: redis.Redis, connection: Any, commands: Sequence[RedisCommand]) -> list[Any]:
    """Send commands and read all of their replies, errors included."""
    connection.send_packed_command([b"".join(map(hiredis.pack_command, commands))])
    return _named(client, commands, [_read(connection) for _ in commands])


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _named(
    client: redis.Redis, commands: Sequence[RedisCommand], replies: Sequence[Any]
) -> list[Any]:
    """Have each error among replies say which command it is of."""
    return [
        refused(client, reply, command) if isinstance(reply, redis.ResponseError) else reply
        for command, reply in zip(commands, replies, strict=True)
    ]


def _checked(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, redis.ResponseError):
            raise reply
    return replies
