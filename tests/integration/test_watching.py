"""`contextvqa status --watch` on a terminal and without one, on a run that goes on."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from contextvqa.cli import main
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.records import ImageRecord
from contextvqa.settings import Daemon
from contextvqa.storage.rejects import Rejects
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching.funnel import Funnel
from contextvqa.watching.report import Report
from contextvqa.watching.state import RunState, RunWatcher
from tests.integration.stand_in import BAD, GOOD, ONCE, work_off
from tests.stages import BURST, EchoStage
from tests.support import clean_environment, contextvqa, wait_until

#: What a terminal obeys instead of showing it.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def places(redis_url: str, runs_dir: Path, tmp_path: Path) -> list[object]:
    """A run of two queued records; the options that name its places."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n{"image": "b.png"}\n')
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    command = ["enqueue", source, "--run", "r", *ONCE, *places]
    assert main([str(argument) for argument in command]) == 0
    return places


class Terminal:
    """A pseudo-terminal of 100 by 40 that shows what a command draws."""

    def __init__(self, *arguments: object) -> None:
        self._descriptor, theirs = pty.openpty()
        self.process = subprocess.Popen(
            contextvqa(*arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=clean_environment() | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        )
        os.close(theirs)
        self._shown = ""

    def latest(self) -> str:
        """Return the last picture that was drawn whole."""
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                self._shown += os.read(self._descriptor, 65536).decode("utf-8", "replace")
            except OSError:  # its other end is closed
                break
        pictures = CONTROL.sub("", self._shown).split("╭─ run r ")
        whole = [picture for picture in pictures if "Ctrl-C ends watching" in picture]
        return whole[-1] if whole else ""

    def close(self) -> None:
        os.close(self._descriptor)


def test_a_terminal_shows_a_run_as_it_goes_on(
    places: list[object], connection: redis.Redis
) -> None:
    terminal = Terminal("status", "r", "--watch", *places)
    try:
        wait_until(lambda: "0/2 records" in terminal.latest())
        assert re.search(r"generate +2 +0 +0 +0", terminal.latest())
        assert "rejects by reason" not in terminal.latest()

        texts = {"a.png": GOOD, "b.png": BAD}
        work_off(connection, lambda record: texts[record.image[0]], places)
        wait_until(lambda: "2/2 records" in terminal.latest())

        picture = terminal.latest()
        assert "1 accepted, 1 rejected, 0 pending" in picture
        assert re.search(r"parse\.no_pairs +1 +50\.0%", picture)
        assert re.search(r"[1-9]\.[0-9] records/s|0\.[1-9] records/s", picture)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(20) == 130
    finally:
        terminal.process.kill()
        terminal.process.wait()
        terminal.close()


@pytest.mark.usefixtures("places")
def test_a_worker_says_how_many_it_has_in_flight_of_how_many(
    connection: redis.Redis, runs_dir: Path
) -> None:
    begun, looked = asyncio.Event(), asyncio.Event()

    async def wait(_: ImageRecord) -> None:
        begun.set()
        await looked.wait()

    worker = ConcurrentWorker(EchoStage(wait, max_in_flight=7), connection, Daemon(), BURST)

    async def scenario() -> RunState:
        serving = asyncio.create_task(worker.serve())
        await begun.wait()
        watcher = RunWatcher(RunDirectory(runs_dir, "r"), connection)
        state = await asyncio.to_thread(watcher.look)
        looked.set()
        await serving
        return state

    state = asyncio.run(scenario())

    (seen,) = state.workers
    assert (seen.name, seen.occupancy) == (worker.name, "2 of 7")
    report = Report(
        state=state, rate=None, funnel=Funnel(Rejects(RunDirectory(runs_dir, "r"))).look(print)
    )
    assert "2 of 7 in flight in 1 workers" in report.to_line()


def test_without_a_terminal_a_line_says_the_same(places: list[object]) -> None:
    with subprocess.Popen(
        contextvqa("status", "r", "--watch", *places),
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130

    assert line == (
        "run r: 0/2 records (0 rejected), 0.0 records/s, ETA -, 0 of 0 in flight in 0 workers\n"
    )
