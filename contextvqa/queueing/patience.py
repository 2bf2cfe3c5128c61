"""Patience with a Redis server that is away, full or busy: the same call again, until it answers."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

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


def persist(
    function: Callable[..., T], *arguments: object, wait: Callable[[float], object] = time.sleep
) -> T:
    """
    Return what the function returns, called as often as it takes: it must be safe to repeat.

    Args:
        wait: Waits for so many seconds; returns something true to give up.

    Raises:
        UnavailableError: Redis refuses a command for good, or did not answer until we gave up.

    """
    wait_s = RECONNECT_S[0]
    while True:
        try:
            return function(*arguments)
        except redis.RedisError as error:
            if not _may_pass(error):
                raise UnavailableError(f"Redis refuses a command: {error}") from error
            log.warning("redis: %s; trying again in %.1f s", error, wait_s)
            if wait(wait_s):
                raise UnavailableError(f"Redis does not answer: {error}") from error
            wait_s = min(wait_s * 2, RECONNECT_S[1])


def _may_pass(error: redis.RedisError) -> bool:
    # redis-py puts its own words before the answer to one command of many.
    _, _, answer = f" of pipeline caused error: {error}".rpartition("of pipeline caused error: ")
    return isinstance(error, PASSING) or answer.partition(" ")[0] in PASSING_CODES
