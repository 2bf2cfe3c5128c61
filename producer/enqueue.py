"""Rows in, jobs out: enqueue exactly the records that are neither done nor on their way."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import redis

from contextvqa.queueing.patience import persist
from contextvqa.queueing.runs import Runs
from contextvqa.records import ImageRecord
from contextvqa.storage.run_directory import RunDirectory
from producer.batch import BATCH, BatchEnqueuer, Enqueued
from producer.rows import BadRow, Row


@dataclass(slots=True)
class Counts:
    """What became of the rows so far."""

    #: All of them; the sum of those below.
    rows: int = 0
    #: Reported, and not enqueued.
    bad: int = 0
    #: Equal to a row close before them: one record.
    duplicates: int = 0
    #: Their record has ended, in an earlier run or on an earlier row.
    done: int = 0
    #: Their record is already on its way.
    live: int = 0
    enqueued: int = 0


class Enqueuer:
    """Puts the records of one run into the queue."""

    def __init__(self, connection: redis.Redis, directory: RunDirectory, runs: Runs) -> None:
        self.run = directory.run
        self.runs = runs
        self.counts = Counts()
        self._batches = BatchEnqueuer(connection, directory)
        self._prompts = directory.prompts
        self._config = directory.read_config()

    def enqueue(
        self,
        rows: Iterable[Row | BadRow],
        report: Callable[[BadRow], None],
        make_room: Callable[[], None],
        tick: Callable[[], None] = lambda: None,
    ) -> Counts:
        """
        Enqueue the records of `rows` that have not ended and are not live. Constant round trips
        per batch, none for rows whose records have ended; waits for a Redis that is away; may be
        repeated at any time.

        Args:
            report: Called with every bad row; the others go on.
            make_room: Called before anything is enqueued; returns when the queue may grow.
            tick: Called after every batch, with `counts` up to date.

        """
        persist(self._batches.release_ended)
        good = self._good(rows, report)
        while batch := list(islice(good, BATCH)):
            if records := self._unfinished(batch):
                make_room()
                done, live, enqueued = persist(self._enqueue, records)
                self.counts.done += done
                self.counts.live += live
                self.counts.enqueued += enqueued
            tick()
        return self.counts

    def _unfinished(self, rows: Sequence[Row]) -> list[ImageRecord]:
        """Return the records that have not ended, each once."""
        first = {row.key: row for row in reversed(rows)}
        self.counts.duplicates += len(rows) - len(first)
        accepted, rejected = self._batches.ended(first)
        self.counts.done += len(accepted | rejected)
        # Also of rejects, whose prompts a Redis that lost them has to know again: for `retry`.
        records = [self._record(key, first[key]) for key in reversed(first) if key not in accepted]
        return [record for record in records if record.key not in rejected]

    def _enqueue(self, batch: list[ImageRecord]) -> Enqueued:
        if self._config is not None:
            # Redis may have been lost while we waited for room, or for Redis.
            self.runs.restore(self._config, batch)
        return self._batches.enqueue(batch)

    def _good(
        self, rows: Iterable[Row | BadRow], report: Callable[[BadRow], None]
    ) -> Iterator[Row]:
        for row in rows:
            self.counts.rows += 1
            if isinstance(row, BadRow):
                self.counts.bad += 1
                report(row)
            else:
                yield row

    def _record(self, key: str, row: Row) -> ImageRecord:
        digest, prompt = persist(self.runs.store_prompt, self.run, row.prompt)
        if prompt is None:
            self._prompts.keep(row.prompt)
        return ImageRecord(
            run=self.run,
            key=key,
            id=row.number if row.id is None else row.id,
            image=row.image,
            prompt_digest=digest,
            prompt=prompt,
        )
