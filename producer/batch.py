"""One batch, one transaction: enqueue the records that have neither ended nor are on their way."""

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import redis
from redis.client import Pipeline

from contextvqa.queueing import bookkeeping
from contextvqa.queueing.job_hash import text_of
from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.queues import LIVE, job_key, pending_key
from contextvqa.queueing.transactions import RedisCommand, transact
from contextvqa.records import ImageRecord
from contextvqa.storage.key_index import KeyIndex
from contextvqa.storage.rejects import KEY
from contextvqa.storage.run_directory import RunDirectory

T = TypeVar("T")

#: Records looked up and enqueued in one transaction.
BATCH = 500


class Enqueued(NamedTuple):
    """What became of the records of a batch."""

    #: This attempt of theirs, a later one or a success is in the files.
    done: int
    #: They are on their way already.
    live: int
    enqueued: int


class Ended(NamedTuple):
    """Keys that the files have lines of."""

    accepted: set[str]
    #: At whichever attempt; some of them may be accepted by now.
    rejected: set[str]


class BatchEnqueuer:
    """Puts batches of one run's records into the queue."""

    def __init__(self, connection: redis.Redis, directory: RunDirectory) -> None:
        self.connection = connection
        self.run = directory.run
        self.results = KeyIndex(directory.results_path)
        self.rejects = KeyIndex(directory.rejects_path)
        self._pending_key = pending_key(directory.run)

    def ended(self, keys: Collection[str]) -> Ended:
        """
        Look these keys up in the files as they are now.

        Raises:
            RunError: A file is damaged.

        """
        self.results.follow()
        self.rejects.follow()
        return Ended(self.results.select(keys), self.rejects.select(keys))

    def release_ended(self) -> None:
        """
        Call no record pending that has ended and that no job carries.

        Somebody may have removed its jobs before they were settled. May be repeated at any time.
        """
        members = map(text_of, self.connection.sscan_iter(self._pending_key, count=BATCH))
        while batch := list(islice(members, BATCH)):
            accepted, rejected = self.ended([key for key in batch if KEY.fullmatch(key)])
            self._release(list(accepted | rejected))

    def _release(self, keys: Sequence[str]) -> None:
        if not keys:
            return

        def write(pipeline: Pipeline, live: list[bool]) -> None:
            left = [key for key, is_live in zip(keys, live, strict=True) if not is_live]
            if left:
                pipeline.srem(self._pending_key, *left)

        self._transact(keys, write)

    def enqueue(self, records: Sequence[ImageRecord]) -> Enqueued:
        """
        Enqueue those of these records, all of different keys, that nobody has to wait for.

        May be repeated at any time.
        """
        keys = [record.key for record in records]

        def write(pipeline: Pipeline, live: list[bool]) -> Enqueued:
            # A job is settled after its line is on disk: whoever is not live now and has ended
            # before this look at the files is in them.
            accepted, rejected = self.ended(keys)
            ended = [
                record.key in accepted
                or (record.key in rejected and self.rejects.attempt(record.key) >= record.attempt)
                for record in records
            ]
            fates = zip(records, ended, live, strict=True)
            missing = [record for record, *fate in fates if not any(fate)]
            if missing:
                bookkeeping.enter(pipeline, self.connection, missing)
            return Enqueued(sum(ended), len(records) - sum(ended) - len(missing), len(missing))

        return self._transact(keys, write)

    def _transact(self, keys: Sequence[str], write: Callable[[Pipeline, list[bool]], T]) -> T:
        """Run `write` on which of these records are live, in a transaction that rests on it."""
        watched = [job_key(job_id(self.run, key, kind)) for key in keys for kind in Kind]
        reads: list[RedisCommand] = [("HGET", name, "status") for name in watched]

        def write_live(pipeline: Pipeline, statuses: list[Any]) -> T:
            size = len(Kind)
            groups = [statuses[at : at + size] for at in range(0, len(statuses), size)]
            return write(pipeline, [any(status in LIVE for status in group) for group in groups])

        return transact(self.connection, watched, reads, write_live)
