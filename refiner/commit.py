"""Group commit: the lines of many records made durable by one write and one fsync."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contextvqa.errors import RunError, UsageError
from contextvqa.run_config import RunConfig
from contextvqa.run_directory import RunDirectory
from contextvqa.sink import Line, Sink

#: Runs whose files and keys are held open. More than are ever busy at once, few in weeks.
MAX_OPEN_RUNS = 16


class GroupCommit:
    """Gathers lines while a write is under way; the next write takes them all."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        #: Open runs, the one used longest ago first. Touched by the thread alone.
        self._sinks: dict[str, Sink] = {}
        #: Of runs that were opened lately. Touched by the event loop alone.
        self._configs: dict[str, RunConfig] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._waiting: list[tuple[str, Line, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def config_of(self, run: str) -> RunConfig:
        """
        Return what a run was begun with, as its run.json says.

        Raises:
            RunError, SinkError: The run cannot be opened, as in `append`.

        """
        config = self._configs.get(run)
        if config is None:
            loop = asyncio.get_running_loop()
            config = await loop.run_in_executor(self._thread, self._read_config, run)
            if len(self._configs) >= MAX_OPEN_RUNS:
                self._configs.pop(next(iter(self._configs)))
            self._configs[run] = config
        return config

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
                    self._configs.pop(run, None)
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

    def _read_config(self, run: str) -> RunConfig:
        self._sink_of(run)  # Says best what is wrong with a run that is not there.
        try:
            config = RunDirectory(self._runs_dir, run).read_config()
        except UsageError as error:
            raise RunError(str(error)) from error
        if config is None:
            raise RunError(f"the run.json of run {run!r} was removed; restore it.")
        return config
