"""The one thread of a daemon that talks to Redis."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from contextvqa.queueing.patience import persist

T = TypeVar("T")


class RedisThread:
    """
    Runs calls to Redis one after another, off the event loop.

    A call is repeated until Redis answers: a server that restarts costs time, never a record. So
    every call must be safe to repeat.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._given_up = threading.Event()

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """
        Return what the function returns.

        Raises:
            UnavailableError: Redis refuses the command, or does not answer after `give_up`.

        """
        loop = asyncio.get_running_loop()
        patient = partial(persist, function, *arguments, wait=self._given_up.wait)
        return await loop.run_in_executor(self._thread, patient)

    def give_up(self) -> None:
        """From now on, fail instead of waiting for a server that is away."""
        self._given_up.set()

    def close(self) -> None:
        """Finish the call under way and end the thread."""
        self._thread.shutdown(wait=True)
