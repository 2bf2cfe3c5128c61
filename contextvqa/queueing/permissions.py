"""A user of Redis that lacks a right: the error says which user, and what it may not do."""

from collections.abc import Sequence
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError

#: Bytes of a command that an error shows: its name, and mostly its key.
MAX_SHOWN = 100


class Client(redis.Redis):
    """redis-py's client, whose errors say so."""

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """
        Execute a command.

        Raises:
            NoPermissionError: As `denied` words it.

        """
        try:
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except NoPermissionError as error:
            raise denied(self, error, arguments) from error

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
            # redis-py has put the command into it.
            raise denied(self, error) from error


def denied(
    client: redis.Redis, error: redis.ResponseError, command: Sequence[Any] = ()
) -> NoPermissionError:
    """Return the error in one line: the user, the command with its key, and what to do."""
    user = client.connection_pool.connection_kwargs.get("username") or "default"
    words = [
        word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in command
    ]
    shown = " ".join(words[:2])[:MAX_SHOWN]
    what = f"{shown}: {error}" if shown else str(error)
    return NoPermissionError(
        f"user {user!r} has no right to it: {what}; give --redis-url the user of this command's "
        "role (docs/acl.md)."
    )
