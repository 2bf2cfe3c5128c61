"""What is said of a run that is complete, and whether enough of it is usable."""

from contextvqa.errors import TooManyRejectsError
from contextvqa.progress import ReadProgress, say
from contextvqa.settings import Rejects
from contextvqa.watching.funnel_text import summary
from contextvqa.watching.state import RunState, RunWatcher


def summarize(watcher: RunWatcher, state: RunState, elapsed_s: float) -> None:
    """Say how many records ended in which way, and at which step, on stderr."""
    say(
        f"complete: {state.ended} records, {state.accepted} accepted, {state.rejected} rejected, "
        f"in {elapsed_s:.1f} s"
    )
    with ReadProgress(f"counting the lines of {state.run}") as progress:
        funnel = watcher.funnel(progress.show)
    for line in summary(funnel):
        say(line)


def check_rejects(watcher: RunWatcher, state: RunState, rejects: Rejects) -> None:
    """Raise TooManyRejectsError where a complete run has more rejects than it may."""
    if rejects.is_exceeded(state.rejected, state.ended):
        raise TooManyRejectsError(
            f"{state.rejected} of {state.ended} records were rejected, more than --max-rejects "
            f"{rejects.max_rejects}; {watcher.directory.rejects_path} says why. To try them again: "
            f"contextvqa retry {state.run} --reason CODE"
        )
