"""One safe way to read and then write in Redis: WATCH, read in one round trip, MULTI/EXEC."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.client import Pipeline

T = TypeVar("T")
RedisCommand = tuple[str | bytes, ...]


def transact(
    connection: redis.Redis,
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
    with connection.pipeline(transaction=True) as pipeline:
        while True:
            pipeline.watch(*watched)  # type: ignore[no-untyped-call]
            replies = _read_all(pipeline, reads)
            pipeline.multi()
            outcome = write(pipeline, replies)
            try:
                pipeline.execute()
            except redis.WatchError:
                continue
            return outcome


def _read_all(pipeline: Pipeline, reads: Sequence[RedisCommand]) -> list[Any]:
    """Send commands together: after WATCH a pipeline would take a round trip for each."""
    connection: Any = pipeline.connection
    connection.send_packed_command(connection.pack_commands(reads))
    parse: Callable[..., Any] = pipeline.parse_response
    replies: list[Any] = []
    for command in reads:
        try:
            replies.append(parse(connection, str(command[0])))
        except redis.ResponseError as error:
            replies.append(error)
    # Raised only now: an unread reply would be taken for that of the next command.
    for reply in replies:
        if isinstance(reply, redis.ResponseError):
            raise reply
    return replies
