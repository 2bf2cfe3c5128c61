"""
`supervised`: a command under a supervisor that loads no engine, and fails as it is told to.

Each worker process does what the word of its turn says, and starts a process that stands for its
engine's. DIRECTORY gets their process ids and what the worker processes have seen. NAME=WORD is a
word for a post of that name, with a directory of its own in DIRECTORY.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click

from contextvqa.cli import COMMANDS, Target, main
from contextvqa.logs.setup import configure_daemon
from contextvqa.options import takes
from contextvqa.processes import post, supervisor
from contextvqa.queueing.daemon import _stop_at_stdin_end
from contextvqa.settings import Logs

#: Seconds between pulses.
PULSE_INTERVAL_S = 0.05


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("words", nargs=-1)
@click.option("--stall-s", default=60.0)
@click.option("--drain-s", default=60.0)
@click.option("--restart-wait-s", default=0.01)
@click.option("--until-stdin-closes", is_flag=True)
@takes(Logs)
def command(
    *,
    directory: Path,
    words: tuple[str, ...],
    stall_s: float,
    drain_s: float,
    restart_wait_s: float,
    until_stdin_closes: bool,
    logs: Logs,
) -> None:
    """Do what the word of this turn says, the last one for all further turns."""
    configure_daemon(logs)
    supervisor.LOOK_INTERVAL_S = 0.05
    supervisor.MIN_STALL_S = 0.0
    supervisor.STOP_MARGIN_S = 0.2
    post.RESTART_WAIT_S = restart_wait_s
    posts: dict[str, list[str]] = {}
    for text in words:
        name, _, word = text.rpartition("=")
        posts.setdefault(name, []).append(word)
    number, pulse = supervisor.supervise(
        list(posts),
        stall_timeout_s=stall_s,
        drain_timeout_s=drain_s,
        until_stdin_closes=until_stdin_closes,
    )
    name, turns = list(posts.items())[number]
    directory /= name
    directory.mkdir(exist_ok=True)
    threading.Thread(target=_stop_at_stdin_end, daemon=True).start()
    turn = len(seen(directory, "worker"))
    engine = subprocess.Popen(["sleep", "1000"])
    note(directory, "engine", engine.pid)
    note(directory, "worker", os.getpid())
    state, _, then = turns[min(turn, len(turns) - 1)].partition("-")
    behave(state, then, pulse, lambda: note(directory, "signals", "SIGTERM"))


def behave(
    state: str, then: str, pulse: Callable[[], None], on_sigterm: Callable[[], None]
) -> None:
    """Be `loading` or `ready`, then `exit:CODE`, `signal:NUMBER`, `hang` or `wait:SIGTERMS`."""
    num_sigterms = 0

    def count_sigterm(*_: object) -> None:
        nonlocal num_sigterms
        num_sigterms += 1
        on_sigterm()

    if state == "ready":
        signal.signal(signal.SIGTERM, count_sigterm)
        pulse()
    what, _, number = then.partition(":")
    if what == "exit":
        sys.exit(int(number))
    if what == "signal":
        os.kill(os.getpid(), int(number))
    while what == "hang" or num_sigterms < int(number):
        time.sleep(PULSE_INTERVAL_S)
        if what == "wait" and state == "ready":
            pulse()


def note(directory: Path, name: str, value: object) -> None:
    """Append a line to a file."""
    with (directory / name).open("a") as file:
        file.write(f"{value}\n")


def seen(directory: Path, name: str) -> list[str]:
    """Return the lines of such a file."""
    path = directory / name
    return path.read_text().split() if path.exists() else []


if __name__ == "__main__":
    COMMANDS["supervised"] = Target("__main__:command", "")
    sys.exit(main())
