"""
Claim and settle: how one worker takes jobs and gives them up, many in one round trip.

A job in flight belongs to exactly one execution, the one its hash names in `execution_id` (the
fence). Only that execution may end or return the job; whoever comes late changes nothing. Every
call may be repeated after a connection error: it looks before it writes, in one transaction.
"""

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import redis
from redis.client import Pipeline
from rq.job import JobStatus
from rq.worker import WorkerStatus

from contextvqa.errors import RejectError
from contextvqa.queueing import bookkeeping
from contextvqa.queueing.bookkeeping import LEASE_S
from contextvqa.queueing.endings import Endings
from contextvqa.queueing.job_hash import (
    MAX_PAYLOAD_BYTES,
    Execution,
    JobFields,
    StoredJob,
    job_ids_in,
    reading,
    text_of,
    too_large,
)
from contextvqa.queueing.jobs import NEXT_QUEUE, run_and_key
from contextvqa.queueing.outcomes import Claim, Outcome, is_ours, select
from contextvqa.queueing.pauses import Pause, pause
from contextvqa.queueing.queues import (
    LIVE,
    PAUSED,
    claimants_key,
    claimed_key,
    job_key,
    rq_queue,
    worker_key,
)
from contextvqa.queueing.transactions import RedisCommand, ask, transact
from contextvqa.queueing.watermark import Watermark

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
        follow_up_keys = [job_key(spec.id) for spec in follow_ups]
        watched = [*(job.key for job in jobs), *follow_up_keys]
        reads: list[RedisCommand] = [("HMGET", job.key, "status", "execution_id") for job in jobs]
        reads += [("HGET", key, "status") for key in follow_up_keys]

        def write(pipeline: Pipeline, replies: list[Any]) -> list[Claim]:
            fences, statuses = replies[: len(jobs)], replies[len(jobs) :]
            live = {
                spec.id for spec, status in zip(follow_ups, statuses, strict=True) if status in LIVE
            }
            ours, lost = [], []
            for (claim, outcome), fence in zip(settlements, fences, strict=True):
                if is_ours(claim.execution, fence):
                    ours.append((claim, outcome))
                else:
                    lost.append(claim)
            self.endings.end(pipeline, ours, live)
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
            lost, due_now = [], []
            for claim, fence in zip(claims, fences, strict=True):
                if not is_ours(claim.execution, fence):
                    lost.append(claim)
                elif claim.leased_at < due:
                    due_now.append(claim.execution)
            bookkeeping.renew(pipeline, self.queue, due_now)
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
        keys = [job_key(job_id) for job_id in readable]

        def start(pipeline: Pipeline, replies: list[Any]) -> tuple[list[Claim], bool]:
            *rows, paused = replies
            self.paused = set(map(text_of, paused))
            for job_id, size in sizes.items():
                if size > MAX_PAYLOAD_BYTES:
                    self.endings.fail_unread(pipeline, job_id, too_large(size))
            queued = self._queued(pipeline, readable, rows)
            ready = self._put_aside(pipeline, queued)
            chosen = select(ready, num_in_flight)[:limit]
            started = {job.id for job in chosen}
            returned = [job.id for job in ready if job.id not in started]
            if returned:
                pipeline.lpush(self.queue.key, *reversed(returned))
            # Not all of it: moves of an earlier call, slow on their way, may have come since.
            pipeline.ltrim(self.claimed_key, len(taken), -1)
            if chosen:
                self._set_state(pipeline, WorkerStatus.BUSY)
            executions = [Execution(job.id, uuid4().hex, self.worker) for job in chosen]
            bookkeeping.start(pipeline, self.queue, executions)
            pairs = zip(chosen, executions, strict=True)
            claims = [Claim(job=job, execution=execution) for job, execution in pairs]
            return claims, len(ready) < len(queued)

        reads: list[RedisCommand] = [*reading(readable), ("HKEYS", PAUSED)]
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
        queues = [self.queue] if self.next_queue is None else [self.queue, self.next_queue]
        num_waiting, *depths = ask(self.connection, [("LLEN", queue.key) for queue in queues])
        if any(self.next_watermark.holds(depth) for depth in depths):
            self.is_queue_empty = False
            return []
        move: RedisCommand = ("LMOVE", self.queue.key, self.claimed_key, "LEFT", "RIGHT")
        commands: list[RedisCommand] = [
            # Noted before anything is held: whoever looks for what the dead held starts here.
            ("HSET", self.claimants_key, self.worker, self.process),
            *[move] * min(limit, num_waiting),
            ("LRANGE", self.claimed_key, 0, -1),
        ]
        taken: list[bytes] = ask(self.connection, commands)[-1]
        self.is_queue_empty = not taken
        return taken

    def _payload_sizes(self, job_ids: Sequence[str]) -> dict[str, int]:
        """
        Return the bytes of each job's payload, so that none is read that fills the memory.

        An id whose key holds no hash at all is left out: it is no job.
        """
        commands: list[RedisCommand] = [("HSTRLEN", job_key(name), "data") for name in job_ids]
        replies = ask(self.connection, commands, raise_on_error=False)
        return {
            job_id: reply
            for job_id, reply in zip(job_ids, replies, strict=True)
            if isinstance(reply, int)
        }

    def _queued(
        self, pipeline: Pipeline, job_ids: Sequence[str], rows: Sequence[Any]
    ) -> list[StoredJob]:
        """Drop deleted jobs and second copies; fail what is no job at all."""
        queued = []
        for job_id, row in zip(job_ids, rows, strict=True):
            fields = JobFields(*row)
            if fields.status == JobStatus.QUEUED.value.encode():
                try:
                    queued.append(StoredJob.read(job_id, fields))
                except RejectError as error:
                    self.endings.fail_unread(pipeline, job_id, f"{error.reason}: {error}")
            elif fields.status is None:
                bookkeeping.forget_pending(pipeline, [job_id])
        return queued

    def _put_aside(self, pipeline: Pipeline, queued: Sequence[StoredJob]) -> list[StoredJob]:
        """Put the jobs of paused runs aside; return the others."""
        ready = []
        for job in queued:
            if _run_of(job) in self.paused:
                self.endings.put_aside(pipeline, job.id)
            else:
                ready.append(job)
        return ready


def _run_of(job: StoredJob) -> str | None:
    """Return the run that a job belongs to; None for a job that is not ours."""
    named = run_and_key(job.id)
    return named[0] if named else None
