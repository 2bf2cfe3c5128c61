"""Group commit: the lines of many records made durable by one write and one fsync."""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from contextvqa.errors import RunError, UsageError
from contextvqa.run_config import RunConfig
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.storage.sink import Line, Sink
from refiner.meter import RefineMeter

#: Runs whose files and keys are held open. More than are ever busy at once, few in weeks.
MAX_OPEN_RUNS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRun:
    """A run whose files and keys are held open, as its run.json was when it was opened."""

    sink: Sink
    config: RunConfig


class GroupCommit:
    """Gathers lines while a write is under way; the next write takes them all."""

    def __init__(self, runs_dir: Path, meter: RefineMeter) -> None:
        self._runs_dir = runs_dir
        self._meter = meter
        #: The one used longest ago first. Changed by the thread alone.
        self._open_runs: dict[str, OpenRun] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._waiting: list[tuple[str, Line, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def config_of(self, run: str) -> RunConfig:
        """
        Return what a run was begun with, as its run.json says.

        Raises:
            RunError, SinkError: The run cannot be opened, as in `append`.

        """
        open_run = self._open_runs.get(run)
        if open_run is None:
            loop = asyncio.get_running_loop()
            open_run = await loop.run_in_executor(self._thread, self._opened, run)
        return open_run.config

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
        for open_run in self._open_runs.values():
            open_run.sink.close()

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
            began = time.monotonic()
            try:
                self._opened(run).sink.append(group)
                self._meter.append_s.observe(time.monotonic() - began)
            except Exception as error:  # noqa: BLE001 - whoever waits for a line raises it
                failures[run] = error
                if isinstance(error, RunError) and run in self._open_runs:
                    # Opened afresh once somebody has mended what is wrong, or begun the run anew.
                    self._open_runs.pop(run).sink.close()
        return failures

    def _opened(self, run: str) -> OpenRun:
        """Return a run, opened where it is not, as the one used last."""
        open_run = self._open_runs.pop(run, None) or self._open(run)
        while len(self._open_runs) >= MAX_OPEN_RUNS:
            self._open_runs.pop(next(iter(self._open_runs))).sink.close()
        self._open_runs[run] = open_run
        return open_run

    def _open(self, run: str) -> OpenRun:
        directory = RunDirectory(self._runs_dir, run)
        with contextlib.ExitStack() as opened:
            sink = Sink(
                directory, self._meter.fsync_s.observe
            )  # says best what is wrong with a run that is not there
            opened.callback(sink.close)
            config = _read_config(directory)
            opened.pop_all()
        return OpenRun(sink=sink, config=config)


def _read_config(directory: RunDirectory) -> RunConfig:
    try:
        config = directory.read_config()
    except UsageError as error:
        raise RunError(str(error)) from error
    if config is None:
        raise RunError(f"the run.json of run {directory.run!r} was removed; restore it.")
    return config
