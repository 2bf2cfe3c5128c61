"""
Claim and settle: how one worker takes jobs and gives them up, many in one round trip.

A job in flight belongs to exactly one execution, the one its hash names in `execution_id` (the
fence). Only that execution may end or return the job; whoever comes late changes nothing. Every
call may be repeated after a connection error: it looks before it writes, in one transaction.
"""

import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.worker import WorkerStatus

from contextvqa.endings import Endings
from contextvqa.errors import RejectError
from contextvqa.job_hash import (
    MAX_PAYLOAD_BYTES,
    JobHash,
    count,
    job_ids_in,
    job_of,
    restore,
    text_of,
    too_large,
)
from contextvqa.jobs import NEXT_QUEUE, buffer_ended
from contextvqa.outcomes import Claim, Outcome, Queued, is_ours, select
from contextvqa.pauses import Pause, pause
from contextvqa.queues import LIVE, PAUSED, claimants_key, claimed_key, rq_queue, worker_key
from contextvqa.transactions import RedisCommand, transact
from contextvqa.watermark import Watermark

#: Life of an execution in rq's started registry, in seconds. Long, so that stock rq's cleanup,
#: which is neither atomic nor fenced, never judges a job of ours, not even on a host whose clock
#: is hours ahead; we find the dead ourselves.
LEASE_S = 24 * 3600
#: Jobs of paused runs that one claim puts aside, in rounds of so many: the beat must get its turn.
ROUND, MAX_ROUNDS = 256, 8
#: Life of a worker's key in seconds: how long another host takes to see that we are gone.
WORKER_TTL_S = 15


class Claims:
    """
    One worker's dealings with one queue. Not thread-safe: all calls from one thread.

    Args:
        process: Who holds what is claimed, for those who look for the dead.
        next_high_water: Depth of the next queue at which nothing is claimed any more.

    """

    def __init__(  # noqa: PLR0913 - what a worker is known by
        self,
        connection: redis.Redis,
        queue: str,
        worker: str,
        *,
        process: str,
        result_ttl_s: int,
        next_high_water: int = 10_000,
    ) -> None:
        self.connection = connection
        self.worker = worker
        self.process = process
        self.queue = rq_queue(queue, connection)
        self.next_queue = rq_queue(NEXT_QUEUE[queue], connection) if queue in NEXT_QUEUE else None
        self.next_watermark = Watermark(next_high_water)
        self.worker_key = worker_key(worker)
        self.claimed_key = claimed_key(queue, worker)
        self.claimants_key = claimants_key(queue)
        self.endings = Endings(self.queue, worker, result_ttl_s)
        #: Claims we know to be ours, by the name rq's registries give their executions.
        self.held: dict[str, Claim] = {}
        #: Whether there was nothing to take when we last looked.
        self.is_queue_empty = False
        #: Runs that were paused when we last looked.
        self.paused: set[str] = set()

    def claim(self, limit: int, num_in_flight: int) -> list[Claim]:
        """
        Take up to `limit` jobs off the head of the queue and start them.

        Suspects are only started when nothing else is in flight, a few at a time; until then all
        that was taken goes back. Jobs of paused runs are put aside, however many lie before others.
        """
        num_wanted = limit
        for _ in range(MAX_ROUNDS):
            taken = self._take(num_wanted)
            if not taken:
                return []
            claims, is_blocked = self._start_all(taken, limit, num_in_flight)
            self.held.update({claim.execution.composite_key: claim for claim in claims})
            if claims or not is_blocked:
                return claims
            num_wanted = max(limit, ROUND)
        return []

    def settle(self, settlements: Sequence[tuple[Claim, Outcome]]) -> list[Claim]:
        """
        End executions, together with the jobs that follow, in one transaction.

        Returns:
            The claims that were no longer ours: their outcomes are dropped.

        """
        jobs = [claim.job for claim, _ in settlements]
        follow_ups = [spec for _, outcome in settlements for spec in outcome.follow_ups]
        follow_up_keys = [Job.key_for(spec.id) for spec in follow_ups]
        watched = [*(job.key for job in jobs), *follow_up_keys]
        reads: list[RedisCommand] = [("HMGET", job.key, "status", "execution_id") for job in jobs]
        reads += [("HGET", key, "status") for key in follow_up_keys]

        def write(pipeline: Pipeline, replies: list[Any]) -> list[Claim]:
            fences, statuses = replies[: len(jobs)], replies[len(jobs) :]
            live = {
                spec.id for spec, status in zip(follow_ups, statuses, strict=True) if status in LIVE
            }
            lost = []
            for (claim, outcome), fence in zip(settlements, fences, strict=True):
                if is_ours(claim, fence):
                    self.endings.end(pipeline, claim, outcome, live)
                else:
                    lost.append(claim)
            is_idle = len(settlements) == len(self.held)
            self._set_state(pipeline, WorkerStatus.IDLE if is_idle else WorkerStatus.BUSY)
            return lost

        lost = transact(self.connection, watched, reads, write)
        for claim, _ in settlements:
            self.held.pop(claim.execution.composite_key, None)
        return lost

    def renew(self) -> list[Claim]:
        """Extend leases well before they end; return the claims that are no longer ours."""
        claims = list(self.held.values())
        if not claims:
            return []
        reads: list[RedisCommand] = [
            ("HMGET", claim.job.key, "status", "execution_id") for claim in claims
        ]
        due = time.monotonic() - LEASE_S / 4

        def write(pipeline: Pipeline, fences: list[Any]) -> list[Claim]:
            lost = []
            for claim, fence in zip(claims, fences, strict=True):
                if not is_ours(claim, fence):
                    lost.append(claim)
                elif claim.leased_at < due:
                    registry = claim.job.started_job_registry
                    claim.execution.heartbeat(registry, LEASE_S, pipeline=pipeline)
            return lost

        lost = transact(self.connection, [claim.job.key for claim in claims], reads, write)
        for claim in claims:
            if claim.leased_at < due:
                claim.leased_at = time.monotonic()
        return lost

    def _start_all(
        self, taken: Sequence[bytes], limit: int, num_in_flight: int
    ) -> tuple[list[Claim], bool]:
        """Start what was taken; say also whether jobs of paused runs were among it."""
        sizes = self._payload_sizes(job_ids_in(taken))
        readable = [job_id for job_id, size in sizes.items() if size <= MAX_PAYLOAD_BYTES]
        keys = [Job.key_for(job_id) for job_id in readable]

        def start(pipeline: Pipeline, replies: list[Any]) -> tuple[list[Claim], bool]:
            *hashes, paused = replies
            self.paused = set(map(text_of, paused))
            for job_id, size in sizes.items():
                if size > MAX_PAYLOAD_BYTES:
                    self.endings.fail_unread(pipeline, job_id, too_large(size))
            queued = self._queued(pipeline, readable, hashes)
            ready = self._put_aside(pipeline, queued)
            chosen = select(ready, num_in_flight)[:limit]
            started = {item.job.id for item in chosen}
            returned = [item.job.id for item in ready if item.job.id not in started]
            if returned:
                pipeline.lpush(self.queue.key, *reversed(returned))
            # Not all of it: moves of an earlier call, slow on their way, may have come since.
            pipeline.ltrim(self.claimed_key, len(taken), -1)
            if chosen:
                self._set_state(pipeline, WorkerStatus.BUSY)
            claims = [self._start(pipeline, item) for item in chosen]
            return claims, len(ready) < len(queued)

        reads: list[RedisCommand] = [*(("HGETALL", key) for key in keys), ("HKEYS", PAUSED)]
        return transact(self.connection, [*keys, PAUSED], reads, start)

    def _set_state(self, pipeline: Pipeline, state: WorkerStatus) -> None:
        pipeline.hset(self.worker_key, "state", state.value)
        # Whoever slept past its key's life must not write one that lives for ever.
        pipeline.expire(self.worker_key, WORKER_TTL_S)

    def pause(self, run: str, why: Pause) -> bool:
        """Pause a run; return whether it was not paused yet. What is claimed next knows of it."""
        is_new = pause(self.connection, run, why)
        self.paused = self.paused | {run}
        return is_new

    def _take(self, limit: int) -> list[bytes]:
        """Move ids to our claimed list; it may hold some already, from a call cut short."""
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.llen(self.queue.key)
            if self.next_queue is not None:
                pipeline.llen(self.next_queue.key)
            num_waiting, *depths = pipeline.execute()
            if any(self.next_watermark.holds(depth) for depth in depths):
                self.is_queue_empty = False
                return []
            # Noted before anything is held: whoever looks for what the dead held starts here.
            pipeline.hset(self.claimants_key, self.worker, self.process)
            for _ in range(min(limit, num_waiting)):
                pipeline.lmove(self.queue.key, self.claimed_key, "LEFT", "RIGHT")
            pipeline.lrange(self.claimed_key, 0, -1)
            taken: list[bytes] = pipeline.execute()[-1]
        self.is_queue_empty = not taken
        return taken

    def _payload_sizes(self, job_ids: Sequence[str]) -> dict[str, int]:
        """
        Return the bytes of each job's payload, so that none is read that fills the memory.

        An id whose key holds no hash at all is left out: it is no job.
        """
        with self.connection.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hstrlen(Job.key_for(job_id), "data")
            replies = pipeline.execute(raise_on_error=False)
        return {
            job_id: reply
            for job_id, reply in zip(job_ids, replies, strict=True)
            if isinstance(reply, int)
        }

    def _queued(
        self, pipeline: Pipeline, job_ids: Sequence[str], hashes: Sequence[JobHash]
    ) -> list[Queued]:
        """Drop deleted jobs and second copies; fail what is no job at all."""
        queued = []
        for job_id, hash_ in zip(job_ids, hashes, strict=True):
            job = job_of(job_id, self.connection)
            if not hash_:
                buffer_ended(job_id, pipeline)
            elif hash_.get(b"status") == JobStatus.QUEUED.value.encode():
                try:
                    restore(job, hash_)
                except RejectError as error:
                    self.endings.fail_unread(pipeline, job_id, f"{error.reason}: {error}")
                    continue
                # Whatever the hash says: its registries are those of the queue it came from.
                job.origin = self.queue.name
                queued.append(Queued(job, hash_))
        return queued

    def _put_aside(self, pipeline: Pipeline, queued: Sequence[Queued]) -> list[Queued]:
        """Put the jobs of paused runs aside; return the others."""
        for item in queued:
            if item.run in self.paused:
                self.endings.put_aside(pipeline, item.job.id)
        return [item for item in queued if item.run not in self.paused]

    def _start(self, pipeline: Pipeline, item: Queued) -> Claim:
        job, hash_ = item
        execution = Execution.create(job, LEASE_S, pipeline=pipeline, worker_name=self.worker)
        job.prepare_for_execution(self.worker, pipeline=pipeline)
        pipeline.hset(job.key, "execution_id", execution.id)
        return claim_of(job, execution, hash_)


def claim_of(job: Job, execution: Execution, hash_: JobHash) -> Claim:
    """Return an execution's claim on a job."""
    return Claim(
        job=job,
        execution=execution,
        crash_count=count(hash_, b"crash_count"),
        retry_count=count(hash_, b"retry_count"),
    )
