"""
Rules of the product taken away, one at a time: a fault test that stays green proves nothing.

`MUTATION=name` in the environment of pytest applies one to this process and all its children.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import redis

from contextvqa.queueing import transactions
from contextvqa.storage.durable_file import DurableFile
from contextvqa.storage.sink import Line, Sink
from producer import batch

#: Far longer than a refiner of a trial lives, in seconds.
LATER_S = 60.0


def accept_any_execution() -> None:
    """Remove the fence: whoever settles is believed to be the one who holds the job."""
    for name, module in list(sys.modules.items()):
        if name.startswith("contextvqa.") and hasattr(module, "is_ours"):
            module.is_ours = lambda *_: True  # type: ignore[attr-defined]


def enqueue_what_is_live() -> None:
    """Remove the producer's look at jobs that exist."""
    mock.patch.object(batch, "LIVE", frozenset()).start()


def append_known_keys() -> None:
    """Remove the sink's look at keys that have a result."""

    def results(_: Sink, lines: Sequence[Line]) -> list[Line]:
        return [line for line in lines if line.is_result]

    mock.patch.object(Sink, "_new_results", results).start()


def watch_nothing() -> None:
    """Let transactions go through although what they rest on has changed."""
    exchange = transactions._exchange

    def elsewhere(
        client: redis.Redis, connection: Any, commands: Sequence[transactions.RedisCommand]
    ) -> list[Any]:
        watched = [("PING",) if command[0] == "WATCH" else command for command in commands]
        return exchange(client, connection, watched)

    mock.patch.object(transactions, "_exchange", elsewhere).start()


def settle_before_fsync() -> None:
    """Acknowledge lines that are not durable yet."""
    sync = DurableFile.sync

    def later(self: DurableFile) -> None:
        timer = threading.Timer(LATER_S, sync, [self])
        timer.daemon = True
        timer.start()

    mock.patch.object(DurableFile, "sync", later).start()


MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (
        accept_any_execution,
        enqueue_what_is_live,
        append_known_keys,
        watch_nothing,
        settle_before_fsync,
    )
}
