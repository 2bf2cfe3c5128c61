"""Progress of long work: a rich bar on a terminal, else a line every 10 seconds."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from contextvqa.errors import IncompleteError, RunError, SinkError, UnavailableError, visible
from contextvqa.redis_url import without_passwords

#: Seconds between lines where there is no terminal.
LINE_INTERVAL_S = 10.0
#: Seconds before reading files is worth a bar.
PATIENCE_S = 1.0


#: Where messages and the bar go; shared, so that a message stands above a bar that is shown.
CONSOLE = Console(stderr=True)


def say(message: str) -> None:
    """Tell the user one line on stderr; stdout is for data."""
    CONSOLE.print(visible(message), markup=False, highlight=False, emoji=False, soft_wrap=True)


class Ticker:
    """Says a line every 10 seconds, if asked often enough."""

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self._say = say
        self._due = time.monotonic() + LINE_INTERVAL_S

    def tick(self, line: str) -> None:
        """Say the line if one is due."""
        if time.monotonic() >= self._due:
            self._say(line)
            self._due = time.monotonic() + LINE_INTERVAL_S


class BarProgress:
    """
    A bar on the terminal, and a line every 10 seconds elsewhere; a context that ends the bar.

    Args:
        doing: What stands before the bar.
        columns: What stands between the bar and the time that is left.
        total: How much there is to do; None where that is not known yet.

    """

    def __init__(self, doing: str, *columns: ProgressColumn, total: int | None = None) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=CONSOLE,
            transient=True,
            disable=not CONSOLE.is_terminal,
        )
        self._task = self._bar.add_task(doing, total=total)
        self._ticker = Ticker()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def _tick(self, line: str) -> None:
        if not CONSOLE.is_terminal:
            self._ticker.tick(line)


class ReadProgress(BarProgress):
    """Shows how much of long files is read; says nothing while that is quick."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing, DownloadColumn())
        self._doing = doing
        self._due = time.monotonic() + PATIENCE_S

    def __enter__(self) -> Self:
        return self  # the bar starts when it is due

    def show(self, num_read: int, num_bytes: int) -> None:
        """Show how far it is; prints only where and when it is due."""
        if time.monotonic() < self._due:
            return
        self._bar.update(self._task, completed=num_read, total=num_bytes)
        self._bar.start()
        self._tick(f"{self._doing}: {num_read / 1e6:,.0f} of {num_bytes / 1e6:,.0f} MB")


class CountProgress(BarProgress):
    """Shows how many of so many records are done."""

    def __init__(self, doing: str, total: int) -> None:
        super().__init__(doing, MofNCompleteColumn(), TimeElapsedColumn(), total=total)
        self._line = f"{doing}: {{}}/{total} records"
        self._done = 0

    def advance(self, count: int) -> None:
        """Show that so many more are done; prints only where and when it is due."""
        self._done += count
        self._bar.advance(self._task, count)
        self._tick(self._line.format(self._done))


@contextmanager
def telling_how_to_resume() -> Iterator[None]:
    """Say, where work ends before its time, that the same command goes on with it."""
    command = without_passwords(shlex.join(["contextvqa", *sys.argv[1:]]))
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted; to resume: {command}")
        raise
    except (IncompleteError, RunError, SinkError, UnavailableError):
        say(f"to resume: {command}")
        raise
