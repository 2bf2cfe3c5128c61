"""The refine stage: generation in; out one durable line, or another attempt."""

from pathlib import Path

from contextvqa.queueing.jobs import Content, generate_job
from contextvqa.queueing.outcomes import Claim, Finished, Outcome
from contextvqa.queueing.queues import REFINE
from contextvqa.records import ImageRecord, Rejection
from refiner.commit import GroupCommit
from refiner.conclusion import conclude, conclude_rejected
from refiner.meter import RefineMeter

#: Lines that one write and one fsync make durable, at most. Enough that others are claimed and
#: parsed while some are on their way to the disk, and few enough to be tried again soon after a
#: crash.
MAX_IN_FLIGHT = 1024


class Refine:
    """Parses and judges generations, and appends what came of them; a job ends after the fsync."""

    queue = REFINE
    max_in_flight = MAX_IN_FLIGHT

    def __init__(self, runs_dir: Path) -> None:
        self.meter = RefineMeter()
        self._commit = GroupCommit(runs_dir, self.meter)

    async def start(self, worker: str) -> None:
        """Nothing to load: a run is opened when its first record comes."""

    async def execute(self, claim: Claim, content: Content) -> Outcome:
        """Send a record back to be generated again, or wait until its line is on disk."""
        assert not isinstance(content, ImageRecord)  # noqa: S101 - jobs of our queue carry none
        run = content.record.run
        config = await self._commit.config_of(run)
        conclusion = (
            conclude_rejected(content, config, claim.visit())
            if isinstance(content, Rejection)
            else conclude(content, config, claim.visit())
        )
        self.meter.note(conclusion)
        if isinstance(conclusion, ImageRecord):
            return Finished(follow_ups=(generate_job(conclusion),))
        await self._commit.append(run, conclusion)
        return Finished()

    def check(self) -> None:
        """Nothing to look at: what fails here, fails in an execution."""

    async def stop(self) -> None:
        """Close the files."""
        self._commit.close()
