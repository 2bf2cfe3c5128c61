"""Rows in, jobs out: enqueue exactly the records that are neither done nor on their way."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import redis

from contextvqa.patience import persist
from contextvqa.records import ImageRecord
from contextvqa.run_directory import RunDirectory
from contextvqa.runs import Runs
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
        self._config = directory.read_config()

    def enqueue(
        self,
        rows: Iterable[Row | BadRow],
        report: Callable[[BadRow], None],
        make_room: Callable[[], None],
    ) -> Counts:
        """
        Enqueue the records of `rows` that have not ended and are not live. Constant round trips
        per batch; waits for a Redis that is away; may be repeated at any time.

        Args:
            report: Called with every bad row; the others go on.
            make_room: Called before every batch; returns when the queue may grow.

        """
        records = self._records(rows, report)
        while batch := list(islice(records, BATCH)):
            make_room()
            distinct = {record.key: record for record in reversed(batch)}
            self.counts.duplicates += len(batch) - len(distinct)
            done, live, enqueued = persist(self._enqueue, list(reversed(distinct.values())))
            self.counts.done += done
            self.counts.live += live
            self.counts.enqueued += enqueued
        return self.counts

    def _enqueue(self, batch: list[ImageRecord]) -> Enqueued:
        if self._config is not None:
            # Redis may have been lost while we waited for room, or for Redis.
            self.runs.restore(self._config, batch)
        return self._batches.enqueue(batch)

    def _records(
        self, rows: Iterable[Row | BadRow], report: Callable[[BadRow], None]
    ) -> Iterator[ImageRecord]:
        for row in rows:
            self.counts.rows += 1
            if isinstance(row, BadRow):
                self.counts.bad += 1
                report(row)
                continue
            yield self._record(row)

    def _record(self, row: Row) -> ImageRecord:
        digest, prompt = persist(self.runs.store_prompt, self.run, row.prompt)
        return ImageRecord(
            run=self.run,
            key=row.key,
            id=row.number if row.id is None else row.id,
            image=row.image,
            prompt_digest=digest,
            prompt=prompt,
        )
