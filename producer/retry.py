"""`contextvqa retry`: chosen rejects of a run enter the queue again, as another attempt."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import IO

import click
import orjson

from contextvqa.errors import IncompleteError, Reason, TransientError, UsageError
from contextvqa.options import takes
from contextvqa.processes.server import EmbeddedServer
from contextvqa.processes.server_socket import running_url, url_of_run
from contextvqa.progress import say
from contextvqa.queueing.connection import connect_to_queue
from contextvqa.queueing.patience import persist
from contextvqa.queueing.queues import GENERATE, rq_queue
from contextvqa.queueing.roles import Role
from contextvqa.queueing.runs import Runs
from contextvqa.records import ImageRecord, prompt_digest
from contextvqa.settings import Flow, Store
from contextvqa.storage.rejects import RejectLine, Rejects
from contextvqa.storage.run_directory import RunDirectory
from producer.batch import BATCH, BatchEnqueuer
from producer.room import Room


@dataclass(slots=True)
class Counts:
    """What became of the chosen rejects so far."""

    enqueued: int = 0
    #: They are on their way already.
    live: int = 0
    #: They have a result by now.
    done: int = 0
    #: Keys that were asked for, and that no line of the run has.
    unknown: int = 0
    #: Their prompts are lost, or were never these.
    without_prompt: int = 0
    #: More than the queue of a run at rest takes.
    left_over: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which rejects were asked for: by reason, by key, or all."""

    reasons: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    is_all: bool = False

    def takes(self, line: RejectLine) -> bool:
        """Whether this reject was asked for."""
        is_asked = line.get("reason") in self.reasons or line["meta"]["key"] in self.keys
        return self.is_all or is_asked


@click.command()
@click.argument("name")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="CODE",
    help="Rejects of this reason, as `contextvqa status` shows them; repeatable.",
)
@click.option("--key", "keys", multiple=True, help="The reject of this `meta.key`; repeatable.")
@click.option(
    "--keys-from",
    type=click.File(encoding="utf-8", errors="replace"),
    help="Rejects of the keys in a file, one a line; - is standard input.",
)
@click.option("--all", "is_all", is_flag=True, help="All rejects.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON on stdout.")
@takes(Store, Flow)
def command(  # noqa: PLR0913 - one parameter per option
    *,
    name: str,
    reasons: tuple[str, ...],
    keys: tuple[str, ...],
    keys_from: IO[str] | None,
    is_all: bool,
    as_json: bool,
    store: Store,
    flow: Flow,
) -> None:
    """
    Put rejects of run NAME into the queue again: chosen by reason, by key, or all of them.

    Each is tried as another attempt, with another seed. Its line stays: that of the last attempt
    counts, unless there is a result. What has one, or is on its way, is skipped.
    """
    if [bool(reasons), bool(keys), keys_from is not None, is_all].count(True) != 1:
        raise UsageError("expected one of --reason, --key, --keys-from or --all.")
    directory = RunDirectory(store.runs_dir, name)
    directory.check_exists()
    asked = {word.lower() for word in (keys_from.read().split() if keys_from else keys)}
    choice = Choice(reasons=frozenset(reasons), keys=frozenset(asked), is_all=is_all)
    rejects = Rejects(directory)
    rejects.follow()
    _check_reasons(choice, rejects)
    with _server(store, directory) as (url, is_at_rest):
        retrier = Retrier(url, directory, flow.high_water, is_at_rest=is_at_rest)
        counts = retrier.retry(rejects, choice)
    _report(name, counts, is_at_rest=is_at_rest)
    if as_json:
        click.echo(orjson.dumps(asdict(counts)))
    _check(name, counts)


class Retrier:
    """
    Enqueues rejects of one run.

    Args:
        is_at_rest: Nobody works on the run meanwhile: nothing is waited for, and what is more than
            the queue takes is left.

    """

    def __init__(
        self, url: str | None, directory: RunDirectory, high_water: int, *, is_at_rest: bool
    ) -> None:
        connection = connect_to_queue(url)
        self.counts = Counts()
        self._high_water = high_water
        self._is_at_rest = is_at_rest
        self._batches = BatchEnqueuer(connection, directory)
        self._queue = rq_queue(GENERATE, connection)
        self._room = Room(connection, directory.run, high_water)
        self._runs = Runs(connection)
        self._directory = directory
        config = directory.read_config()
        assert config is not None  # noqa: S101 - the run exists
        # Redis may have lost it since.
        self._runs.store(config)

    def retry(self, rejects: Rejects, choice: Choice) -> Counts:
        """Enqueue the chosen rejects, in constant memory and round trips per batch."""
        self.counts.unknown = sum(not rejects.knows(key) for key in choice.keys)
        self.counts.done = sum(rejects.knows(key) and key in rejects.results for key in choice.keys)
        records = (rejects.next_attempt(line) for line in rejects if choice.takes(line))
        while batch := list(islice(records, BATCH)):
            self._enqueue(batch)
        return self.counts

    def _enqueue(self, batch: Sequence[ImageRecord]) -> None:
        prompted = [persist(self._with_prompt, record) for record in batch]
        ready = {record.key: record for record in prompted if record is not None}
        self.counts.without_prompt += prompted.count(None)
        if not ready:
            return
        if self._is_at_rest and self._queue.count >= self._high_water:
            self.counts.left_over += len(ready)
            return
        if not self._is_at_rest:
            persist(self._room.wait, _summary(self.counts))
        done, live, enqueued = persist(self._batches.enqueue, list(ready.values()))
        self.counts.done += done
        self.counts.live += live
        self.counts.enqueued += enqueued

    def _with_prompt(self, record: ImageRecord) -> ImageRecord | None:
        """Return the record with a prompt that a worker will find; None where it is lost."""
        if record.prompt is not None:
            return record if prompt_digest(record.prompt) == record.prompt_digest else None
        with suppress(TransientError):
            self._runs.prompt_of(record)
            return record
        kept = self._directory.prompts.read(record.prompt_digest)
        if kept is None:
            return None
        _, prompt = self._runs.store_prompt(record.run, kept)
        return replace(record, prompt=prompt)


@contextmanager
def _server(store: Store, directory: RunDirectory) -> Iterator[tuple[str | None, bool]]:
    """
    Give the address of the run's server, and whether it was started for this alone.

    The embedded server of a run that is not at work is started, and stopped again: its data stay.
    """
    is_embedded = store.redis_url is None and directory.redis_path.exists()
    if not is_embedded or running_url(directory.redis_path):
        yield url_of_run(store.server_url, directory.redis_path, Role.PRODUCER), False
        return
    with directory.alone(), EmbeddedServer(directory.redis_path) as server:
        yield server.url_for(Role.PRODUCER), True


def _check_reasons(choice: Choice, rejects: Rejects) -> None:
    """Refuse codes that no version writes; one that this run has no rejects of is none of them."""
    if not choice.reasons:
        return
    found = rejects.count_reasons()
    unknown = choice.reasons - found.keys() - set(Reason)
    if unknown:
        known = ", ".join(f"{reason} ({count})" for reason, count in found.most_common())
        raise UsageError(
            f"there is no reason {', '.join(sorted(unknown))}; this run has rejects of: "
            f"{known or 'none'}."
        )


def _report(run: str, counts: Counts, *, is_at_rest: bool) -> None:
    if not any(asdict(counts).values()):
        say(f"run {run!r} has no such rejects: nothing to retry")
        return
    say(_summary(counts))
    if is_at_rest and counts.enqueued:
        say("to work on them: run the same `contextvqa run` again")


def _check(run: str, counts: Counts) -> None:
    """Say what the user has to do for those that were not enqueued."""
    problems = []
    if counts.unknown:
        problems.append(f"{counts.unknown} keys are of no record of run {run!r}: look them up")
    if counts.without_prompt:
        problems.append(
            f"{counts.without_prompt} records were left out because their prompts are lost, in Redis "
            f"and in the run: `contextvqa enqueue INPUT --run {run}` writes them, then retry again"
        )
    if problems:
        raise UsageError("; ".join(problems) + ".")
    if counts.left_over:
        raise IncompleteError(
            f"{counts.left_over} more were left out, because nobody works on the run and its queue "
            "has reached --high-water: run the same `contextvqa run`, then retry again."
        )


def _summary(counts: Counts) -> str:
    return (
        f"{counts.enqueued} rejects enqueued again, {counts.live} already on their way, "
        f"{counts.done} have a result"
    )
