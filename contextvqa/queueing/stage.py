"""What a stage is to the daemon that runs it."""

from typing import Protocol

from contextvqa.queueing.jobs import Content
from contextvqa.queueing.outcomes import Claim, Outcome


class Stage(Protocol):
    """What a daemon runs: the work on one record, and nothing about queues."""

    #: The queue whose jobs it executes.
    queue: str

    @property
    def max_in_flight(self) -> int:
        """Most executions to keep in flight; asked again before every claim."""

    async def start(self, worker: str) -> None:
        """Get ready to execute; the worker registers only after this."""

    async def execute(self, claim: Claim, content: Content) -> Outcome:
        """
        Do the stage's work on one job, with what jobs of its queue carry.

        Raises:
            RejectError: The record is rejected.
            TransientError: The record is tried again.
            RunError: Its run is paused; the job goes back to the queue.
            CrashError: The daemon ends at once, with a crash counted for all that is in flight.
            ContextVQAError: Any other one stops the daemon; the job goes back to the queue.

        """

    def check(self) -> None:
        """
        Look whether the stage can go on; called with every beat.

        Raises:
            RestartError: It must be started anew, after what is in flight has ended.
            CrashError: At once.

        """

    async def stop(self) -> None:
        """Release what `start` took."""
