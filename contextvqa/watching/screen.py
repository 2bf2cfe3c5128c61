"""`contextvqa status --watch` on a terminal: a run as a panel that is drawn again and again."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from contextvqa.errors import visible
from contextvqa.queueing.queues import GENERATE, REFINE
from contextvqa.watching.report import Report, duration
from contextvqa.watching.state import QueueState, RunState, WorkerState
from contextvqa.watching.tally import RejectCount

#: Workers and reasons shown of each; of more the rest is added up.
MAX_ROWS = 8
BAR_WIDTH = 40


def picture(reports: Iterable[Report]) -> RenderableType:
    """Return what a terminal shows of some runs."""
    now = datetime.now(UTC).strftime("%H:%M:%S UTC")
    return Group(*map(_panel, reports), Text(f"{now}; Ctrl-C ends watching", style="dim"))


def _panel(report: Report) -> Panel:
    state = report.state
    parts: list[RenderableType] = [_progress(report), Text(_counts(state))]
    if state.paused:
        parts.append(Text(visible(state.paused.advise(state.run)), style="bold red"))
    if state.queues:
        parts += [Text(), _queues(state.queues)]
    if state.workers:
        parts += [Text(), _workers(state.workers)]
    if report.funnel.rejects:
        parts += [Text(), _rejects(report.funnel.rejects, state.ended)]
    return Panel(Group(*parts), title=f"run {state.run}", title_align="left", padding=(0, 1))


def _progress(report: Report) -> RenderableType:
    state = report.state
    total = state.ended + (state.pending or 0)
    row = Table.grid(padding=(0, 2))
    row.add_row(
        ProgressBar(total=total or 1, completed=state.ended, width=BAR_WIDTH),
        Text(f"{state.ended:,}/{total:,} records"),
        Text(f"{report.rate or 0.0:.1f} records/s", style="bold"),
        Text(f"ETA {duration(report.eta_s)}"),
    )
    return row


def _counts(state: RunState) -> str:
    pending = "unknown" if state.pending is None else f"{state.pending:,}"
    return f"{state.accepted:,} accepted, {state.rejected:,} rejected, {pending} pending"


def _table(*columns: str) -> Table:
    """Return a table without lines, the first column of words, the others of numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _queues(queues: Mapping[str, QueueState]) -> Table:
    table = _table("queue", "queued", "in flight", "put aside", "failed")
    for name, queue in queues.items():
        counts = (queue.queued, queue.started, queue.deferred, queue.failed)
        table.add_row(name, *(f"{count:,}" for count in counts))
    return table


def _workers(workers: Sequence[WorkerState]) -> Table:
    num_alive = {queue: sum(worker.queue == queue for worker in workers) for queue in _QUEUES}
    alive = ", ".join(f"{number} on {queue}" for queue, number in num_alive.items())
    table = _table(f"workers alive: {alive}", "in flight", "of", "settled")
    for worker in workers[:MAX_ROWS]:
        table.add_row(_plain(worker.name), *_numbers([worker]))
    if rest := workers[MAX_ROWS:]:
        table.add_row(f"and {len(rest)} more", *_numbers(rest))
    return table


def _numbers(workers: Sequence[WorkerState]) -> list[str]:
    return [
        f"{sum(worker.in_flight for worker in workers):,}",
        f"{sum(worker.max_in_flight or 0 for worker in workers):,}",
        f"{sum(worker.settled for worker in workers):,}",
    ]


def _rejects(rejects: Mapping[str, RejectCount], num_ended: int) -> Table:
    table = _table("rejects by reason", "", "of ended")
    items = list(rejects.items())
    shown = [(reason, reject.count) for reason, reject in items[:MAX_ROWS]]
    if rest := items[MAX_ROWS:]:
        shown.append((f"{len(rest)} other reasons", sum(reject.count for _, reject in rest)))
    for reason, count in shown:
        table.add_row(
            _plain(reason), f"{count:,}", f"{count / num_ended:.1%}" if num_ended else "-"
        )
    return table


def _plain(text: str) -> Text:
    """Return what somebody may have written as it is: no markup, nothing that a terminal obeys."""
    return Text(visible(text))


_QUEUES = (GENERATE, REFINE)
