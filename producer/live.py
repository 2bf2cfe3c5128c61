"""Which records of a run Redis holds, and which of them it holds in name only."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import redis
from redis.client import Pipeline
from rq.job import JobStatus

from contextvqa.queueing.job_hash import executions_in, text_of
from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.queues import (
    GENERATE,
    LIVE,
    REFINE,
    claimants_key,
    claimed_key,
    job_key,
    pending_key,
    rq_queue,
)
from contextvqa.queueing.runs import Runs

#: Keys looked up in one transaction.
BATCH = 2_000
#: Looks at a record before it counts as stuck, and seconds between them: a worker that has just
#: started may hold its job where we did not look.
NUM_LOOKS = 3
LOOK_INTERVAL_S = 0.5


class LiveRecords:
    """Looks at the records of one run in Redis; changes nothing."""

    def __init__(self, connection: redis.Redis, run: str) -> None:
        self.connection = connection
        self.run = run
        self._pending_key = pending_key(run)
        self._queues = [rq_queue(name, connection) for name in (GENERATE, REFINE)]

    def pending(self) -> set[str]:
        """Return the keys of the records that are on their way, as Redis says."""
        return set(Runs(self.connection).pending_keys(self.run))

    def stuck(self, keys: Collection[str]) -> dict[str, list[str]]:
        """
        Return those of these keys that stay pending though no job of theirs waits or runs.

        Returns:
            Of each the jobs that say they do: `enqueue` believes them as long as they are there.

        """
        left = list(keys)
        stuck: dict[str, list[str]] = {}
        for look in range(NUM_LOOKS):
            if left and look:
                time.sleep(LOOK_INTERVAL_S)
            stuck = {}
            for start in range(0, len(left), BATCH):
                stuck |= self._look(left[start : start + BATCH])
            left = list(stuck)
        return stuck

    def _look(self, keys: list[str]) -> dict[str, list[str]]:
        """Choose the stuck ones of these, all seen at one moment."""
        jobs = {key: [job_id(self.run, key, kind) for kind in Kind] for key in keys}
        job_ids = [identifier for group in jobs.values() for identifier in group]
        with self.connection.pipeline(transaction=True) as pipeline:
            read_places = self._buffer_places(pipeline)
            pipeline.smismember(self._pending_key, keys)
            for identifier in job_ids:
                pipeline.hget(job_key(identifier), "status")
            replies = iter(pipeline.execute())
        places = read_places(replies)
        are_pending = next(replies)
        statuses = zip(job_ids, replies, strict=True)
        live = {identifier: text_of(status) for identifier, status in statuses if status in LIVE}
        # A job is found by a daemon where its status says that it is, and nowhere else.
        carried = {item for item, status in live.items() if item in places.get(status, ())}
        return {
            key: [identifier for identifier in jobs[key] if identifier in live]
            for key, is_pending in zip(keys, are_pending, strict=True)
            if is_pending and carried.isdisjoint(jobs[key])
        }

    def _buffer_places(self, pipeline: Pipeline) -> Callable[[Iterator[Any]], dict[str, set[str]]]:
        """Buffer a look at all places of jobs; return what reads its replies: ids by status."""
        lists = [*(queue.key for queue in self._queues), *self._claimed_keys()]
        for name in lists:
            pipeline.lrange(name, 0, -1)
        for queue in self._queues:
            pipeline.zrange(queue.started_job_registry.key, 0, -1)
        for queue in self._queues:
            pipeline.zrange(queue.deferred_job_registry.key, 0, -1)

        def read(replies: Iterator[Any]) -> dict[str, set[str]]:
            def names(num_replies: int) -> set[str]:
                return {text_of(item) for _ in range(num_replies) for item in next(replies)}

            queued = names(len(lists))
            started = {execution.job_id for execution in executions_in(names(len(self._queues)))}
            return {
                JobStatus.QUEUED.value: queued,
                JobStatus.STARTED.value: started,
                JobStatus.DEFERRED.value: names(len(self._queues)),
            }

        return read

    def _claimed_keys(self) -> list[str]:
        return [
            claimed_key(queue.name, text_of(worker))
            for queue in self._queues
            for worker in self.connection.hkeys(claimants_key(queue.name))
        ]
