"""Rows in, jobs out: enqueue exactly the records that are neither done nor on their way."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis
from redis.client import Pipeline
from rq.job import Job

from contextvqa.jobs import Kind, buffer_enqueue, generate_job, job_ids
from contextvqa.queues import GENERATE, LIVE, pending_key, rq_queue
from contextvqa.records import ImageRecord, record_key
from contextvqa.run_directory import RunDirectory
from contextvqa.runs import Runs
from contextvqa.sink import KeyIndex
from contextvqa.transactions import RedisCommand, transact
from producer.rows import BadRow, Row

#: Rows looked up and enqueued in one transaction.
BATCH = 500


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
        self.connection = connection
        self.run = directory.run
        self.runs = runs
        self.queue = rq_queue(GENERATE, connection)
        self.results = KeyIndex(directory.results_path)
        self.rejects = KeyIndex(directory.rejects_path)
        self.counts = Counts()

    def enqueue(
        self,
        rows: Iterable[Row | BadRow],
        report: Callable[[BadRow], None],
        make_room: Callable[[], None],
    ) -> Counts:
        """
        Enqueue the records of `rows` that have not ended and are not live. Constant round trips
        per batch; may be repeated at any time.

        Args:
            report: Called with every bad row; the others go on.
            make_room: Called before every batch; returns when the queue may grow.

        """
        records = self._records(rows, report)
        while batch := list(islice(records, BATCH)):
            make_room()
            distinct = {record.key: record for record in reversed(batch)}
            self.counts.duplicates += len(batch) - len(distinct)
            self._enqueue_batch(list(reversed(distinct.values())))
        return self.counts

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
        digest, prompt = self.runs.store_prompt(self.run, row.prompt)
        return ImageRecord(
            run=self.run,
            key=record_key(row.id, row.image, row.prompt),
            id=row.number if row.id is None else row.id,
            image=row.image,
            prompt_digest=digest,
            prompt=prompt,
        )

    def _enqueue_batch(self, records: list[ImageRecord]) -> None:
        keys = [[Job.key_for(job_id) for job_id in job_ids(record)] for record in records]
        flat = [key for group in keys for key in group]
        reads: list[RedisCommand] = [("HGET", key, "status") for key in flat]

        def write(pipeline: Pipeline, replies: list[Any]) -> Counts:
            # A job is settled after its line is on disk: whoever is not live now and has ended
            # before this look at the files is in them.
            self.results.follow()
            self.rejects.follow()
            counts, missing, ended = Counts(), [], []
            size = len(Kind)
            groups = [replies[at : at + size] for at in range(0, len(replies), size)]
            for record, job_keys, statuses in zip(records, keys, groups, strict=True):
                is_live = any(status in LIVE for status in statuses)
                if record.key in self.results or record.key in self.rejects:
                    counts.done += 1
                    if not is_live:
                        ended.append(record.key)
                elif is_live:
                    counts.live += 1
                else:
                    missing.append((generate_job(record), job_keys))
            if ended:
                # Somebody else may have removed their jobs before they were settled.
                pipeline.srem(pending_key(self.run), *ended)
            if missing:
                pipeline.delete(*(key for _, group in missing for key in group))
                buffer_enqueue([spec for spec, _ in missing], self.queue, pipeline)
                pipeline.sadd(pending_key(self.run), *(spec.record.key for spec, _ in missing))
            counts.enqueued = len(missing)
            return counts

        counts = transact(self.connection, flat, reads, write)
        self.counts.done += counts.done
        self.counts.live += counts.live
        self.counts.enqueued += counts.enqueued
