"""
One trial's world: a run, its input, and the processes that work on it, as a supervisor has them.

Processes are the real commands, with a scripted engine in place of vLLM's and a short beat.
"""

import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest import mock

import redis
from PIL import Image

import producer.command
import refiner.command
import worker.command
from contextvqa import cli
from contextvqa.queueing import daemon
from contextvqa.queueing.queues import GENERATE, REFINE, pending_key
from tests.faults.engine import MODEL, Script, factory
from tests.faults.ledger import Entry, Findings, Ledger, write_input
from tests.faults.plan import Trial
from tests.faults.processes import PATIENCE_S, Child, Patch, fork
from tests.faults.report import report
from tests.support import DecodesHere, in_its_role

#: The commands are imported here, so that a child need not.
COMMANDS = (producer.command, worker.command, refiner.command)
RUN = "trial"
COLOURS = {"red.png": (255, 0, 0), "green.png": (0, 128, 0), "blue.png": (0, 0, 255)}
#: Beat of the trials' daemons in seconds: what a beat finds is found soon.
BEAT_S = 0.2
#: So many that no record of the engine's is rejected, a quarter of whose texts are poor.
MAX_ATTEMPTS = 30
#: Ended jobs stay for so long, in seconds: beyond the trial, on hosts whose clocks are wrong too.
DAY_S = 86_400
#: `EX_SOFTWARE`: the daemon asks for another one to be started.
RESTART = 70


def entries(count: int) -> list[Entry]:
    """Return good records with three images and two prompts."""
    names = sorted(COLOURS)
    return [
        entry(f"record {number}", names[number % 3], f"Write {'much' if number % 2 else 'little'}.")
        for number in range(count)
    ]


def entry(
    identifier: str, image: str = "red.png", prompt: str = "Write.", *, reasons: Iterable[str] = ()
) -> Entry:
    """Return one record; with reasons, one that must be rejected for one of them."""
    return Entry(
        id=identifier,
        image=image,
        colour=COLOURS.get(image, (0, 0, 0)),
        prompt=prompt,
        reasons=frozenset(reasons),
        is_good=not reasons,
    )


def write_images(directory: Path) -> Path:
    """Write the images that all trials share."""
    for name, colour in COLOURS.items():
        Image.new("RGB", (32, 32), colour).save(directory / name)
    return directory


class World:
    """A run on a server, and its processes. As a context manager it leaves none behind."""

    def __init__(
        self, directory: Path, images: Path, url: str, records: list[Entry], trial: Trial
    ) -> None:
        self.directory = directory
        self.images = images
        self.url = url
        self.trial = trial
        self.input = directory / "input.jsonl"
        self.runs_dir = directory / "runs"
        self.children: list[Child] = []
        self.script = Script()
        #: Of all its workers.
        self.worker_flags: Sequence[object] = ()
        #: Whether its workers decode in processes of their own, which cost a tenth of a second.
        self.decodes_apart = False
        #: Of all its processes.
        self.patches: Sequence[Patch] = ()
        #: What a test did to this world.
        self.num_faults = 0
        self.num_in_flight = 0
        self.ledger = Ledger(self.runs_dir, RUN, records)
        write_input(self.input, records)
        self.connection = redis.Redis.from_url(url)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        """End what still runs. A failure is noted in the trial, so that the other trials run too."""
        for child in self.children:
            child.kill()
        self.connection.close()
        report.add_time(self.trial.fault, time.monotonic() - self._began)
        if error is None:
            # Thousands of trials would fill a disk; only those that failed are worth a look.
            shutil.rmtree(self.directory)
            return False
        said = "\n".join(f"--- {child.name}\n{child.words()}" for child in self.children[-4:])
        self.trial.failure = "".join(traceback.format_exception(error)) + said
        return isinstance(error, Exception)

    def producer(self, *flags: object, patches: Iterable[Patch] = ()) -> Child:
        """Start the producer."""
        run = ("--run", RUN, "--model", MODEL, "--max-attempts", MAX_ATTEMPTS)
        return self.start("producer", "enqueue", self.input, *run, *flags, patches=patches)

    def worker(
        self, *flags: object, patches: Iterable[Patch] = (), supervised: bool = False
    ) -> Child:
        """Start a worker process with the scripted engine; without a supervisor we are it."""
        scripted = mock.patch.object(worker.command, "VLLMEngine", factory(self.script)).start
        alone = mock.patch.object(worker.command, "supervise", return_value=(0, nothing)).start
        patches = patches if supervised else (alone, *patches)
        here = mock.patch.object(worker.command, "Decoders", DecodesHere).start
        patches = patches if self.decodes_apart else (here, *patches)
        fixed = ("--model", MODEL, "--image-root", self.images, "--retry-wait-s", 0.01)
        return self.start(
            "worker", "worker", *fixed, *self.worker_flags, *flags, patches=(scripted, *patches)
        )

    def refiner(self, *flags: object, patches: Iterable[Patch] = ()) -> Child:
        """Start a refiner."""
        # As a worker process: it does not outlive a killed test.
        return self.start("refiner", "refiner", "--until-stdin-closes", *flags, patches=patches)

    def metrics(self) -> Child:
        """Start the endpoint of all runs."""
        return self.start("metrics", "metrics", "--metrics-port", 0, patches=())

    def start(self, name: str, *arguments: object, patches: Iterable[Patch]) -> Child:
        """Start one of the commands, on this world's server and run."""
        runs_dir = () if name == "worker" else ("--runs-dir", self.runs_dir)
        ttl = () if name in {"producer", "metrics"} else ("--result-ttl-s", DAY_S)
        argv = in_its_role((*arguments, "--redis-url", self.url, *runs_dir, *ttl))
        beat = mock.patch.object(daemon, "BEAT_INTERVAL_S", BEAT_S).start
        child = fork(
            f"{name} {len(self.children)}",
            partial(cli.main, argv),
            self.directory / f"{len(self.children)}-{name}.log",
            (*self.patches, beat, *patches),
        )
        self.children.append(child)
        return child

    def count_in_flight(self) -> int:
        """Return how many executions are in flight on both queues."""
        return sum(self.connection.zcard(f"rq:wip:{queue}") for queue in (GENERATE, REFINE))

    def is_complete(self) -> bool:
        """Whether no record is on its way."""
        return not self.connection.exists(pending_key(RUN))

    def note_fault(self) -> None:
        """Count a fault, and what it hits."""
        self.num_faults += 1
        self.num_in_flight += self.count_in_flight()

    def finish(
        self,
        daemons: Iterable[Child] = (),
        *flags: object,
        patches: Iterable[Patch] = (),
        supervised: bool = False,
        redis_forgot: bool = False,
    ) -> None:
        """
        Enqueue all again, work until the run is complete, stop, and compare with the book.

        Args:
            daemons: Those that are still there; others are started for those that end.
            flags: Of workers and refiners that are started.
            patches: Of workers that are started.

        """
        assert self.producer().wait() == 0
        begin = {
            "worker": partial(self.worker, *flags, patches=patches, supervised=supervised),
            "refiner": partial(self.refiner, *flags),
        }
        alive = list(daemons)
        wait_for(lambda: self._supervise(alive, begin) and self.is_complete())
        wait_for(lambda: self._supervise(alive, begin) and all(map(is_ready, alive)))
        self.stop(alive)
        self.settle_accounts(redis_forgot=redis_forgot)

    def stop(self, daemons: Iterable[Child]) -> None:
        """Stop daemons as an operator does; each must end well."""
        daemons = list(daemons)
        for child in daemons:
            child.send(signal.SIGTERM)
        for child in daemons:
            code = child.wait()
            assert code == 0, f"{child.name} ended with {code}:\n{child.words()}"

    def make_other_attempts(self) -> None:
        """Generate again what needs it, and refine that, until nothing is on its way."""
        for _ in range(MAX_ATTEMPTS):
            if self.is_complete():
                return
            assert self.worker("--burst").wait() == 0
            assert self.refiner("--burst").wait() == 0

    def settle_accounts(self, *, redis_forgot: bool = False) -> None:
        """Compare the book with what came of the trial, and enter it into the report."""
        findings = self.ledger.check(self.connection, redis_forgot=redis_forgot)
        report.add(self.trial.fault, findings, self.num_faults, self.num_in_flight)
        assert not findings, str(findings)

    def _supervise(self, alive: list[Child], begin: dict[str, Callable[[], Child]]) -> bool:
        """Start another daemon for each kind that has none; what ended must have had a reason."""
        for child in [child for child in alive if not child.is_alive()]:
            code = child.wait()
            assert code in (RESTART, -signal.SIGKILL), f"{child.name} ended with {code}"
            alive.remove(child)
        for kind, start in begin.items():
            if not any(child.kind == kind for child in alive):
                alive.append(start())
        return True


def is_ready(child: Child) -> bool:
    """Whether a daemon drains when it is asked to stop; before, it just ends."""
    return child.log.exists() and "INFO ready: " in child.log.read_text()


def nothing() -> None:
    """Stand for the pulse of a worker process that nobody listens to."""


def wait_for(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Return when the condition holds; fail when it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain"
        time.sleep(0.005)


__all__ = ["Findings", "World", "entries", "entry", "wait_for", "write_images"]
