"""The one thread of a daemon that talks to Redis, and its patience with a server that is away."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import redis

from contextvqa.errors import UnavailableError

log = logging.getLogger("contextvqa")
T = TypeVar("T")

#: Wait between tries while Redis does not answer, in seconds: grows from the first to the second.
RECONNECT_S = (0.1, 5.0)
#: Errors after which the same call may succeed.
PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)
#: The same, by the code with which the server begins an error that redis-py has no class for: its
#: disk is full, its master or its replicas are away, or a script keeps it busy.
PASSING_CODES = {"MISCONF", "MASTERDOWN", "NOREPLICAS", "BUSY"}


class RedisThread:
    """
    Runs calls to Redis one after another, off the event loop.

    A call is repeated until Redis answers: a server that restarts costs time, never a record. So
    every call must be safe to repeat.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._given_up = threading.Event()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """
        Return what the function returns.

        Raises:
            UnavailableError: Redis refuses the command, or does not answer after `give_up`.

        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._persist, function, arguments)

    def give_up(self) -> None:
        """From now on, fail instead of waiting for a server that is away."""
        self._given_up.set()

    def close(self) -> None:
        """Finish the call under way and end the thread."""
        self._thread.shutdown(wait=True)

    def _persist(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        wait_s = RECONNECT_S[0]
        while True:
            try:
                return function(*arguments)
            except redis.RedisError as error:
                if not _may_pass(error):
                    raise UnavailableError(f"Redis refuses a command: {error}") from error
                log.warning("redis: %s; trying again in %.1f s", error, wait_s)
                if self._given_up.wait(wait_s):
                    raise UnavailableError(f"Redis does not answer: {error}") from error
                wait_s = min(wait_s * 2, RECONNECT_S[1])


def _may_pass(error: redis.RedisError) -> bool:
    # redis-py puts its own words before the answer to one command of many.
    _, _, answer = f" of pipeline caused error: {error}".rpartition("of pipeline caused error: ")
    return isinstance(error, PASSING) or answer.partition(" ")[0] in PASSING_CODES
