"""The refine stage: generation in, one durable line out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contextvqa.errors import Reason, RejectError, RunError, UsageError
from contextvqa.gates import Quality
from contextvqa.outcomes import Claim, Finished, Outcome
from contextvqa.queues import REFINE
from contextvqa.records import Checks, ContextVQA, Generation, Rejection, Result, from_payload
from contextvqa.run_directory import RunDirectory
from contextvqa.sink import Line, Sink
from refiner.gates.judge import judge
from refiner.parser import Parsed, parse

#: Lines that one write and one fsync make durable, at most.
MAX_IN_FLIGHT = 256
#: Runs whose files and keys are held open. More than are ever busy at once, few in weeks.
MAX_OPEN_RUNS = 16


class Refine:
    """Parses and judges generations, and appends what came of them; a job ends after the fsync."""

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
            run = generation.record.run
            await self._commit.append(run, refine(generation, await self._commit.quality_of(run)))
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
        #: Of runs that were opened lately. Touched by the event loop alone.
        self._qualities: dict[str, Quality] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._waiting: list[tuple[str, Line, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def quality_of(self, run: str) -> Quality:
        """
        Return what the texts of a run must be like, as its run.json says.

        Raises:
            RunError, SinkError: The run cannot be opened, as in `append`.

        """
        quality = self._qualities.get(run)
        if quality is None:
            loop = asyncio.get_running_loop()
            quality = await loop.run_in_executor(self._thread, self._read_quality, run)
            if len(self._qualities) >= MAX_OPEN_RUNS:
                self._qualities.pop(next(iter(self._qualities)))
            self._qualities[run] = quality
        return quality

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
                    # Whoever mends the run may also begin it anew, with other gates.
                    self._qualities.pop(run, None)
                    durable.set_exception(failures[run])
                else:
                    durable.set_result(None)

    def _write(self, lines: dict[str, list[Line]]) -> dict[str, Exception]:
        """Write the lines of each run; return why those of some runs are not durable."""
        failures: dict[str, Exception] = {}
        for run, group in lines.items():
            try:
                self._sink_of(run).append(group)
            except Exception as error:  # noqa: BLE001 - whoever waits for a line raises it
                failures[run] = error
                if isinstance(error, RunError) and run in self._sinks:
                    # Opened afresh once somebody has mended what is wrong.
                    self._sinks.pop(run).close()
        return failures

    def _sink_of(self, run: str) -> Sink:
        """Return the run's sink, opened where it is not, as the one used last."""
        if run in self._sinks:
            sink = self._sinks.pop(run)
        else:
            if len(self._sinks) >= MAX_OPEN_RUNS:
                self._sinks.pop(next(iter(self._sinks))).close()
            sink = Sink(RunDirectory(self._runs_dir, run))
        self._sinks[run] = sink
        return sink

    def _read_quality(self, run: str) -> Quality:
        self._sink_of(run)  # Says best what is wrong with a run that is not there.
        try:
            config = RunDirectory(self._runs_dir, run).read_config()
        except UsageError as error:
            raise RunError(str(error)) from error
        if config is None:
            raise RunError(f"the run.json of run {run!r} was removed; restore it.")
        return config.quality


def refine(generation: Generation, quality: Quality) -> Line:
    """Read a generation and judge it: a results line, or a rejects line with the reason. Pure."""
    parsed = parse(generation.text, generation.finish_reason)
    if not isinstance(parsed, Parsed):
        return _rejected(generation, parsed.reason, parsed.message, {})
    judged = judge(parsed, generation, quality)
    if judged.reason is not None:
        return _rejected(generation, judged.reason, judged.message, judged.checks())
    context_vqa = ContextVQA(context=parsed.context_vqa.context, qas=judged.qas)
    result = Result(generation=generation, context_vqa=context_vqa, checks=judged.checks())
    return Line(key=generation.record.key, data=result.to_line(), is_result=True)


def _rejected(generation: Generation, reason: Reason, message: str, checks: Checks) -> Line:
    rejection = Rejection(
        record=generation.record,
        stage=REFINE,
        reason=reason,
        message=message,
        vqa=generation.text,
        checks=checks,
    )
    return rejection_line(rejection)


def rejection_line(rejection: Rejection) -> Line:
    """Return the line of rejects.jsonl."""
    return Line(key=rejection.record.key, data=rejection.to_line(), is_result=False)
