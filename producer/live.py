"""Which records of a run Redis holds, and which of them it holds in name only."""

import time
from collections.abc import Collection

import redis
from rq.job import Job, JobStatus
from rq.utils import as_text, parse_composite_key

from contextvqa.jobs import Kind, job_id
from contextvqa.queues import GENERATE, REFINE, claimants_key, claimed_key, pending_key, rq_queue

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
        members = self.connection.sscan_iter(self._pending_key, count=10_000)
        return {member.decode("utf-8", "replace") for member in members}

    def stuck(self, keys: Collection[str]) -> set[str]:
        """Return those of these keys that stay pending though no job of theirs waits or runs."""
        stuck = list(keys)
        for look in range(NUM_LOOKS):
            if stuck and look:
                time.sleep(LOOK_INTERVAL_S)
            batches = [stuck[start : start + BATCH] for start in range(0, len(stuck), BATCH)]
            stuck = [key for batch in batches for key in self._look(batch)]
        return set(stuck)

    def _look(self, keys: list[str]) -> list[str]:
        """Choose the stuck ones of these, all seen at one moment."""
        lists = [*(queue.key for queue in self._queues), *self._claimed_keys()]
        started = [queue.started_job_registry.key for queue in self._queues]
        deferred = [queue.deferred_job_registry.key for queue in self._queues]
        job_ids = [job_id(self.run, key, kind) for key in keys for kind in Kind]
        with self.connection.pipeline(transaction=True) as pipeline:
            for name in lists:
                pipeline.lrange(name, 0, -1)
            for name in (*started, *deferred):
                pipeline.zrange(name, 0, -1)
            pipeline.smismember(self._pending_key, keys)
            for identifier in job_ids:
                pipeline.hget(Job.key_for(identifier), "status")
            replies = iter(pipeline.execute())
        places = {
            JobStatus.QUEUED.value: {as_text(item) for _ in lists for item in next(replies)},
            JobStatus.STARTED.value: {
                parse_composite_key(as_text(item))[0] for _ in started for item in next(replies)
            },
            JobStatus.DEFERRED.value: {as_text(item) for _ in deferred for item in next(replies)},
        }
        are_pending = next(replies)
        # A job is found by a daemon where its status says that it is, and nowhere else.
        carried = {
            identifier
            for identifier, status in zip(job_ids, replies, strict=True)
            if status is not None and identifier in places.get(as_text(status), ())
        }
        return [
            key
            for key, is_pending in zip(keys, are_pending, strict=True)
            if is_pending and not any(job_id(self.run, key, kind) in carried for kind in Kind)
        ]

    def _claimed_keys(self) -> list[str]:
        return [
            claimed_key(queue.name, as_text(worker))
            for queue in self._queues
            for worker in self.connection.hkeys(claimants_key(queue.name))
        ]
