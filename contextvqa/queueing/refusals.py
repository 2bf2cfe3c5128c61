"""What the server refuses: the error says which command and key, and for want of whose right."""

from collections.abc import Sequence
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError

#: Letters of a command that an error shows: its name, and mostly its key.
MAX_SHOWN = 120


class Client(redis.Redis):
    """redis-py's client, whose errors say so."""

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """
        Execute a command.

        Raises:
            redis.ResponseError: As `refused` words it.

        """
        try:
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            raise refused(self, error, arguments) from error

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline that does."""
        return _Pipeline(self, transaction, shard_hint)


class _Pipeline(Pipeline):
    def __init__(self, client: Client, *arguments: Any) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, *arguments)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            return super().execute(raise_on_error)
        except NoPermissionError as error:
            # redis-py has put the command into it, as into all others.
            raise refused(self, error) from error


def refused(
    client: redis.Redis, error: redis.ResponseError, command: Sequence[Any] = ()
) -> redis.ResponseError:
    """
    Return the error with the command and its key.

    The server's own code stays in front; where a right is missing, the user does, and what to do.
    """
    words = [
        word.decode(errors="replace") if isinstance(word, bytes) else str(word)
        for word in command[:2]
    ]
    shown = " ".join(words)[:MAX_SHOWN]
    if not isinstance(error, NoPermissionError):
        return type(error)(f"{error} ({shown})")
    user = client.connection_pool.connection_kwargs.get("username") or "default"
    what = f"{shown}: {error}" if shown else str(error)
    return NoPermissionError(
        f"user {user!r} has no right to it: {what}; give --redis-url the user of this command's "
        "role (docs/acl.md)."
    )
