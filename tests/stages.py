"""A stage that does nothing but what a test needs, and the ways to feed and run it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis
from rq.worker import BaseWorker

from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.jobs import Content, refine_job
from contextvqa.queueing.outcomes import Claim, Finished, Outcome
from contextvqa.queueing.queues import GENERATE, OrjsonSerializer
from contextvqa.queueing.runs import Runs
from contextvqa.records import ImageRecord
from contextvqa.settings import Daemon, Guards, Lifetime
from contextvqa.storage.run_directory import RunDirectory
from producer.enqueue import Enqueuer
from producer.rows import Row
from tests.support import generation_of

BURST = Lifetime(burst=True)


class EchoStage:
    """Generates the record's id; a test may put something in its way."""

    queue = GENERATE

    def __init__(
        self,
        before: Callable[[ImageRecord], Awaitable[None]] | None = None,
        max_in_flight: int = 64,
    ) -> None:
        self.before = before
        self.max_in_flight = max_in_flight
        self.ailment: Exception | None = None
        self.executed: list[int | str] = []
        self.num_running = 0
        self.most_running = 0

    async def start(self, worker: str) -> None:
        """Nothing to start."""

    async def execute(self, claim: Claim, content: Content) -> Outcome:  # noqa: ARG002
        """Note that the record was here, and hand it on."""
        assert isinstance(content, ImageRecord)
        record = content
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            if self.before is not None:
                await self.before(record)
        finally:
            self.num_running -= 1
        self.executed.append(record.id)
        return Finished(follow_ups=(refine_job(generation_of(record, f"text {record.id}")),))

    def check(self) -> None:
        """Always well, unless a test has put an error here."""
        if self.ailment is not None:
            raise self.ailment

    async def stop(self) -> None:
        """Nothing to stop."""


def rows(count: int) -> list[Row]:
    return [
        Row(number=number, id=None, image=(f"{number}.png",), prompt="Write.")
        for number in range(1, count + 1)
    ]


def enqueue(connection: redis.Redis, runs_dir: Path, count: int) -> Enqueuer:
    enqueuer = Enqueuer(connection, RunDirectory(runs_dir, "test"), Runs(connection))
    enqueuer.enqueue(rows(count), report=print, make_room=lambda: None)
    return enqueuer


def serve(
    connection: redis.Redis,
    stage: EchoStage,
    daemon: Daemon | None = None,
    lifetime: Lifetime = BURST,
    guards: Guards | None = None,
) -> ConcurrentWorker:
    worker = ConcurrentWorker(stage, connection, daemon or Daemon(), lifetime, guards=guards)
    asyncio.run(worker.serve())
    return worker


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds, which no event of the event loop tells of."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def assert_nothing_is_left(connection: redis.Redis) -> None:
    """No execution, lease, claimed id or worker outlives a worker that has stopped."""
    patterns = ("rq:execution*", "rq:wip:*", "rq:worker:*:executions", "contextvqa:claim*")
    assert [key for pattern in patterns for key in connection.scan_iter(pattern)] == []
    assert BaseWorker.all(connection=connection, serializer=OrjsonSerializer) == []


def pending(connection: redis.Redis) -> int:
    return Runs(connection).num_pending("test")
