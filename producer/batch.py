"""One batch, one transaction: enqueue the records that have neither ended nor are on their way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
from redis.client import Pipeline

from contextvqa import bookkeeping
from contextvqa.jobs import Kind, generate_job, job_ids
from contextvqa.key_index import KeyIndex
from contextvqa.queues import GENERATE, LIVE, REFINE, job_key, pending_key, rq_queue
from contextvqa.records import ImageRecord
from contextvqa.run_directory import RunDirectory
from contextvqa.transactions import RedisCommand, transact

#: Records looked up and enqueued in one transaction.
BATCH = 500


class Enqueued(NamedTuple):
    """What became of the records of a batch."""

    #: This attempt of theirs, a later one or a success is in the files.
    done: int
    #: They are on their way already.
    live: int
    enqueued: int


class BatchEnqueuer:
    """Puts batches of one run's records into the queue."""

    def __init__(self, connection: redis.Redis, directory: RunDirectory) -> None:
        self.connection = connection
        self.results = KeyIndex(directory.results_path)
        self.rejects = KeyIndex(directory.rejects_path)
        self._pending_key = pending_key(directory.run)
        self._queue = rq_queue(GENERATE, connection)

    def enqueue(self, records: Sequence[ImageRecord]) -> Enqueued:
        """
        Enqueue those of these records, all of different keys, that nobody has to wait for.

        May be repeated at any time.
        """
        keys = [[job_key(job_id) for job_id in job_ids(record)] for record in records]
        flat = [key for group in keys for key in group]
        reads: list[RedisCommand] = [("HGET", key, "status") for key in flat]

        def write(pipeline: Pipeline, replies: list[Any]) -> Enqueued:
            # A job is settled after its line is on disk: whoever is not live now and has ended
            # before this look at the files is in them.
            self.results.follow()
            self.rejects.follow()
            size = len(Kind)
            groups = [replies[at : at + size] for at in range(0, len(replies), size)]
            live = [any(status in LIVE for status in statuses) for statuses in groups]
            ended = [self._has_ended(record) for record in records]
            fates = list(zip(records, ended, live, strict=True))
            left = [record.key for record, has_ended, is_live in fates if has_ended and not is_live]
            if left:
                # Somebody else may have removed their jobs before they were settled.
                pipeline.srem(self._pending_key, *left)
            missing = [record for record, *fate in fates if not any(fate)]
            if missing:
                self._buffer(missing, pipeline)
            return Enqueued(sum(ended), len(records) - sum(ended) - len(missing), len(missing))

        return transact(self.connection, flat, reads, write)

    def _has_ended(self, record: ImageRecord) -> bool:
        return record.key in self.results or self.rejects.attempt(record.key) >= record.attempt

    def _buffer(self, records: Sequence[ImageRecord], pipeline: Pipeline) -> None:
        ended = [job_id for record in records for job_id in job_ids(record)]
        pipeline.delete(*map(job_key, ended))
        for queue in (rq_queue(name, self.connection) for name in (GENERATE, REFINE)):
            # What rq lists as ended is on its way again.
            pipeline.zrem(queue.finished_job_registry.key, *ended)
            pipeline.zrem(queue.failed_job_registry.key, *ended)
        bookkeeping.enqueue(pipeline, self._queue, [generate_job(record) for record in records])
        pipeline.sadd(self._pending_key, *(record.key for record in records))
