"""A run on its way, as a bar or a line every 10 seconds."""

import time

from rich.progress import MofNCompleteColumn, ProgressColumn, Task, TimeElapsedColumn
from rich.text import Text

from contextvqa.progress import BarProgress
from contextvqa.queueing.queues import GENERATE
from contextvqa.watching.state import RunState


class _Rate(ProgressColumn):
    """Records per second since a worker was ready."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rate']:.1f} records/s")


class RunProgress(BarProgress):
    """Shows a run on its way: what it waits for, how many records ended, rate and ETA."""

    def __init__(self) -> None:
        columns = (MofNCompleteColumn(), _Rate(), TimeElapsedColumn())
        super().__init__("reading the input", *columns)
        self._bar.update(self._task, rate=0.0)
        self._began_at: float | None = None
        self._ended_before = 0

    def show(self, state: RunState) -> None:
        """Show a new state; prints only where and when it is due."""
        total = state.ended + (state.pending or 0)
        rate = self._rate(state)
        line = f"{_doing(state)}: {state.ended}/{total} records, {rate:.1f} records/s"
        if rate and state.pending:
            line += f", {state.pending / rate:.0f} s left"
        self._bar.update(
            self._task,
            description=_doing(state),
            completed=state.ended,
            total=total or None,
            rate=rate,
        )
        self._tick(line)

    def _rate(self, state: RunState) -> float:
        """Count from the first look at which a worker could work: loading is not its rate."""
        if self._began_at is None:
            if not _has_worker(state):
                return 0.0
            self._began_at, self._ended_before = time.monotonic(), state.ended
        elapsed_s = time.monotonic() - self._began_at
        return (state.ended - self._ended_before) / elapsed_s if elapsed_s else 0.0


def _doing(state: RunState) -> str:
    if not state.pending:
        return "reading the input"
    return "generating" if _has_worker(state) else "loading the model"


def _has_worker(state: RunState) -> bool:
    return any(worker.queue == GENERATE for worker in state.workers)
