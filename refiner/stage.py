"""The refine stage: generation in, one durable line out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contextvqa.errors import Reason, RejectError, RunError
from contextvqa.outcomes import Claim, Finished, Outcome
from contextvqa.queues import REFINE
from contextvqa.records import Generation, Rejection, Result, from_payload
from contextvqa.run_directory import RunDirectory
from contextvqa.sink import Line, Sink
from refiner.parser import Parsed, parse

#: Lines that one write and one fsync make durable, at most.
MAX_IN_FLIGHT = 256
#: Runs whose files and keys are held open. More than are ever busy at once, few in weeks.
MAX_OPEN_RUNS = 16


class Refine:
    """Parses generations and appends what came of them; finishes a job only after the fsync."""

    queue = REFINE
    max_in_flight = MAX_IN_FLIGHT

    def __init__(self, runs_dir: Path) -> None:
        self._commit = GroupCommit(runs_dir)

    async def start(self, worker: str) -> None:
        """Nothing to load: a run is opened when its first record comes."""

    async def execute(self, claim: Claim) -> Outcome:
        """Turn a job into its line and wait until the line is on disk."""
        _, arguments = claim.job.content
        if "rejection" in arguments:
            rejection = from_payload(arguments["rejection"], Rejection)
            await self._commit.append(rejection.record.run, rejection_line(rejection))
        elif "generation" in arguments:
            generation = from_payload(arguments["generation"], Generation)
            await self._commit.append(generation.record.run, refine(generation))
        else:
            raise RejectError(Reason.MALFORMED, "the job carries no generation and no rejection")
        return Finished()

    def check(self) -> None:
        """Nothing to look at: what fails here, fails in an execution."""

    async def stop(self) -> None:
        """Close the files."""
        self._commit.close()


class GroupCommit:
    """Gathers lines while a write is under way; the next write takes them all."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        #: Open runs, the one used longest ago first. Touched by the thread alone.
        self._sinks: dict[str, Sink] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._waiting: list[tuple[str, Line, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def append(self, run: str, line: Line) -> None:
        """
        Return when the line is durable, or its key already was.

        Raises:
            RunError: It is not: this run's files are at fault. Others are not concerned.
            SinkError: It is not: no file can be written. Nothing may be acknowledged.

        """
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((run, line, durable))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="sink")
        await durable

    def close(self) -> None:
        """Finish the write under way and release the files."""
        self._thread.shutdown(wait=True)
        for sink in self._sinks.values():
            sink.close()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            lines: dict[str, list[Line]] = {}
            for run, line, _ in batch:
                lines.setdefault(run, []).append(line)
            failures = await loop.run_in_executor(self._thread, self._write, lines)
            for run, _, durable in batch:
                if durable.done():
                    continue  # its execution was cancelled meanwhile
                if run in failures:
                    durable.set_exception(failures[run])
                else:
                    durable.set_result(None)

    def _write(self, lines: dict[str, list[Line]]) -> dict[str, Exception]:
        """Write the lines of each run; return why those of some runs are not durable."""
        failures: dict[str, Exception] = {}
        for run, group in lines.items():
            try:
                sink = self._sinks.pop(run) if run in self._sinks else self._open(run)
                self._sinks[run] = sink
                sink.append(group)
            except Exception as error:  # noqa: BLE001 - whoever waits for a line raises it
                failures[run] = error
                if isinstance(error, RunError) and run in self._sinks:
                    # Opened afresh once somebody has mended what is wrong.
                    self._sinks.pop(run).close()
        return failures

    def _open(self, run: str) -> Sink:
        if len(self._sinks) >= MAX_OPEN_RUNS:
            self._sinks.pop(next(iter(self._sinks))).close()
        return Sink(RunDirectory(self._runs_dir, run))


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
