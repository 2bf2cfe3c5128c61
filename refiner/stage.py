"""The refine stage: generation in, one durable line out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contextvqa.errors import Reason, RejectError
from contextvqa.outcomes import Claim, Finished, Outcome
from contextvqa.queues import REFINE
from contextvqa.records import Generation, Rejection, Result, from_payload
from contextvqa.run_directory import RunDirectory
from contextvqa.sink import Line, Sink
from refiner.parser import Parsed, parse

#: Lines that one write and one fsync make durable, at most.
MAX_IN_FLIGHT = 256


class Refine:
    """Parses generations and appends what came of them; finishes a job only after the fsync."""

    queue = REFINE
    max_in_flight = MAX_IN_FLIGHT

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._commits: dict[str, GroupCommit] = {}

    async def start(self, worker: str) -> None:
        """Nothing to load: runs are opened when their first record comes."""

    async def execute(self, claim: Claim) -> Outcome:
        """Turn a job into its line and wait until the line is on disk."""
        arguments = claim.job.kwargs
        if "rejection" in arguments:
            rejection = from_payload(arguments["rejection"], Rejection)
            await self._append(rejection.record.run, rejection_line(rejection))
        elif "generation" in arguments:
            generation = from_payload(arguments["generation"], Generation)
            await self._append(generation.record.run, refine(generation))
        else:
            raise RejectError(Reason.MALFORMED, "the job carries no generation and no rejection")
        return Finished()

    async def stop(self) -> None:
        """Close the files."""
        for commit in self._commits.values():
            commit.close()

    async def _append(self, run: str, line: Line) -> None:
        if run not in self._commits:
            self._commits[run] = GroupCommit(RunDirectory(self.runs_dir, run))
        await self._commits[run].append(line)


class GroupCommit:
    """Gathers the lines of one run while a write is under way; the next write takes them all."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._sink: Sink | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sink {directory.run}")
        self._waiting: list[tuple[Line, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def append(self, line: Line) -> None:
        """
        Return when the line is durable, or its key already was.

        Raises:
            SinkError: It is not, and nothing may be acknowledged.

        """
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((line, durable))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="sink")
        await durable

    def close(self) -> None:
        """Finish the write under way and release the files."""
        self._thread.shutdown(wait=True)
        if self._sink is not None:
            self._sink.close()

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            lines = [line for line, _ in batch]
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._thread, self._write, lines)
            except Exception as error:  # noqa: BLE001 - whoever waits for the line raises it
                failure: Exception | None = error
            else:
                failure = None
            for _, durable in batch:
                if durable.done():
                    continue
                if failure is None:
                    durable.set_result(None)
                else:
                    durable.set_exception(failure)

    def _write(self, lines: list[Line]) -> None:
        if self._sink is None:
            self._sink = Sink(self._directory)
        self._sink.append(lines)


def refine(generation: Generation) -> Line:
    """Read a generation: a results line, or a rejects line with the reason. Pure."""
    parsed = parse(generation.text, generation.finish_reason)
    if isinstance(parsed, Parsed):
        result = Result(generation=generation, context_vqa=parsed.context_vqa)
        return Line(key=generation.record.key, data=result.to_line(), is_result=True)
    rejection = Rejection(
        record=generation.record,
        stage=REFINE,
        reason=parsed.reason,
        message=parsed.message,
        vqa=generation.text,
    )
    return rejection_line(rejection)


def rejection_line(rejection: Rejection) -> Line:
    """Return the line of rejects.jsonl."""
    return Line(key=rejection.record.key, data=rejection.to_line(), is_result=False)
