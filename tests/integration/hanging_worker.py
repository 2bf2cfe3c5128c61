"""A worker process that claims eight jobs, says so, and never ends them: a test kills it."""

import asyncio
import sys

from contextvqa.queueing.connection import connect
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.jobs import Content
from contextvqa.queueing.outcomes import Claim, Outcome
from contextvqa.queueing.queues import GENERATE
from contextvqa.settings import Daemon, Lifetime

NUM_IN_FLIGHT = 8


class HangingStage:
    """Executes nothing, for ever."""

    queue = GENERATE
    max_in_flight = NUM_IN_FLIGHT

    def __init__(self) -> None:
        self.num_running = 0

    async def start(self, worker: str) -> None:
        """Nothing to start."""

    async def execute(self, claim: Claim, content: Content) -> Outcome:  # noqa: ARG002
        """Hang."""
        self.num_running += 1
        if self.num_running == NUM_IN_FLIGHT:
            print(f"{NUM_IN_FLIGHT} in flight", flush=True)  # noqa: T201 - what the test waits for
        await asyncio.Event().wait()
        raise AssertionError(claim)

    def check(self) -> None:
        """Always well."""

    async def stop(self) -> None:
        """Nothing to stop."""


if __name__ == "__main__":
    worker = ConcurrentWorker(HangingStage(), connect(sys.argv[1]), Daemon(), Lifetime())
    asyncio.run(worker.serve())
