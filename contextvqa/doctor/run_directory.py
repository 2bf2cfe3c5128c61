"""The directory of the runs: whether files can be made, locked, synced and replaced there."""

import os
import subprocess
import sys
from collections.abc import Iterator

from contextvqa.doctor.asked import Asked
from contextvqa.doctor.disk import nearest, room
from contextvqa.findings import Finding, failure, ok


def check(asked: Asked) -> Iterator[Finding]:
    """
    Try it out in a directory that is removed again, by a process that can be left behind.

    The embedded server's data, for `contextvqa run`, stand below it too.
    """
    runs_dir = asked.store.runs_dir
    directory = nearest(runs_dir)
    if not directory.is_dir():
        expected = "--runs-dir to be one, or a name in one"
        yield failure("run directory", f"{directory} is no directory", expected, "name another")
        return
    yield room("disk", directory)
    trial = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", "contextvqa.doctor.trial", directory],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        said, _ = trial.communicate(timeout=asked.program_timeout_s)
    except subprocess.TimeoutExpired:
        # Not killed: so it clears away what it has made when the file system answers again.
        trial.terminate()
        expected = f"an end within {asked.program_timeout_s:g} s"
        remedy = "see whether its disk or mount hangs"
        yield failure("run directory", f"{directory} does not answer", expected, remedy)
        return
    if trial.returncode:
        remedy = "see docs/hosts.md for what a run directory needs"
        yield failure("run directory", said.strip().rpartition("\n")[2], remedy=remedy)
        return
    is_new = "" if runs_dir.exists() else f"; {runs_dir} will be made"
    done = f"files can be made, locked, appended to, synced and replaced in {directory}"
    yield ok("run directory", done + is_new)
