"""
Claim, settle, take back: how one worker takes jobs and gives them up, many in one round trip.

A job in flight belongs to exactly one execution, the one its hash names in `execution_id` (the
fence). Only that execution may end or return the job; whoever comes late changes nothing. Every
call may be repeated after a connection error: it looks before it writes, in one transaction.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import redis
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.results import Result
from rq.utils import as_text, now, parse_composite_key, utcformat
from rq.worker import WorkerStatus

from contextvqa.errors import Reason
from contextvqa.jobs import buffer_ended, buffer_enqueue
from contextvqa.outcomes import (
    Claim,
    Failed,
    Finished,
    JobHash,
    Outcome,
    Retried,
    Returned,
    count,
    is_ours,
    rejected,
    select,
)
from contextvqa.queues import (
    LIVE,
    OrjsonSerializer,
    claimants_key,
    claimed_key,
    rq_queue,
    worker_key,
)
from contextvqa.transactions import RedisCommand, transact

#: Life of an execution in rq's started registry, in seconds. Long, so that stock rq's cleanup,
#: which is neither atomic nor fenced, never judges a job of ours; we find the dead ourselves.
LEASE_S = 180


class Claims:
    """One worker's dealings with one queue. Not thread-safe: all calls from one thread."""

    def __init__(
        self,
        connection: redis.Redis,
        queue: str,
        worker: str,
        *,
        result_ttl_s: int,
        max_crashes: int,
    ) -> None:
        self.connection = connection
        self.worker = worker
        self.queue = rq_queue(queue, connection)
        self.worker_key = worker_key(worker)
        self.claimed_key = claimed_key(queue, worker)
        self.claimants_key = claimants_key(queue)
        self.result_ttl_s = result_ttl_s
        self.max_crashes = max_crashes
        #: Claims we know to be ours, by the name rq's registries give their executions.
        self.held: dict[str, Claim] = {}

    def claim(self, limit: int, num_in_flight: int) -> list[Claim]:
        """
        Take up to `limit` jobs off the head of the queue and start them.

        Suspects are only started when nothing else is in flight, a few at a time; until then all
        that was taken goes back.
        """
        job_ids = self._take(limit)
        if not job_ids:
            return []
        keys = [Job.key_for(job_id) for job_id in job_ids]

        def start(pipeline: Pipeline, hashes: list[JobHash]) -> list[Claim]:
            queued = self._queued(pipeline, job_ids, hashes)
            chosen = select(queued, num_in_flight)
            returned = [item[0].id for item in queued if item not in chosen]
            if returned:
                pipeline.lpush(self.queue.key, *reversed(returned))
            pipeline.delete(self.claimed_key)
            if chosen:
                pipeline.hset(self.worker_key, "state", WorkerStatus.BUSY.value)
            return [self._start(pipeline, job, hash_) for job, hash_ in chosen]

        claims = transact(self.connection, keys, [("HGETALL", key) for key in keys], start)
        self.held.update({claim.execution.composite_key: claim for claim in claims})
        return claims

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
                    self._end(pipeline, claim, outcome, live)
                else:
                    lost.append(claim)
            if len(settlements) == len(self.held):
                pipeline.hset(self.worker_key, "state", WorkerStatus.IDLE.value)
            return lost

        lost = transact(self.connection, watched, reads, write)
        for claim, _ in settlements:
            self.held.pop(claim.execution.composite_key, None)
        return lost

    def renew(self) -> list[Claim]:
        """Extend leases well before they end; return the claims that are no longer ours."""
        due = time.monotonic() - LEASE_S / 4
        claims = [claim for claim in self.held.values() if claim.leased_at < due]
        if not claims:
            return []
        reads: list[RedisCommand] = [
            ("HMGET", claim.job.key, "status", "execution_id") for claim in claims
        ]

        def write(pipeline: Pipeline, fences: list[Any]) -> list[Claim]:
            lost = []
            for claim, fence in zip(claims, fences, strict=True):
                if is_ours(claim, fence):
                    registry = claim.job.started_job_registry
                    claim.execution.heartbeat(registry, LEASE_S, pipeline=pipeline)
                else:
                    lost.append(claim)
            return lost

        lost = transact(self.connection, [claim.job.key for claim in claims], reads, write)
        for claim in claims:
            claim.leased_at = time.monotonic()
        return lost

    def take_back(self, executions: Sequence[tuple[str, str]], *, crashed: bool) -> int:
        """
        Return started jobs that nobody works on any more to the head of the queue.

        Args:
            executions: (job id, execution id) pairs.
            crashed: Their worker died, which is counted; a job that was in flight at more than
                `max_crashes` crashes is rejected instead.

        Returns:
            How many of the jobs had still been theirs.

        """
        if not executions:
            return 0
        keys = [Job.key_for(job_id) for job_id, _ in executions]

        def write(pipeline: Pipeline, hashes: list[JobHash]) -> int:
            taken = 0
            for (job_id, execution_id), hash_ in zip(executions, hashes, strict=True):
                claim = self._claim_of(job_id, execution_id, hash_)
                if not is_ours(claim, (hash_.get(b"status"), hash_.get(b"execution_id"))):
                    claim.execution.delete(claim.job, pipeline)
                    continue
                taken += 1
                if self._restore(pipeline, claim.job, hash_):
                    self._end(pipeline, claim, self._after(claim, crashed=crashed), set())
                    pipeline.hincrby(claim.job.key, "crash_count", int(crashed))
                else:
                    claim.execution.delete(claim.job, pipeline)
            return taken

        return transact(self.connection, keys, [("HGETALL", key) for key in keys], write)

    def take_back_strays(self, executions_key: str) -> None:
        """Return jobs that were started for us in a transaction whose reply was lost."""
        members = {as_text(member) for member in self.connection.smembers(executions_key)}
        strays = [parse_composite_key(member) for member in members - self.held.keys()]
        self.take_back(strays, crashed=False)

    def put_back(self, claimed: str) -> None:
        """Return the ids of another worker's claimed list, none of them started, to the queue."""

        def write(pipeline: Pipeline, replies: list[Any]) -> None:
            if replies[0]:
                pipeline.lpush(self.queue.key, *reversed(replies[0]))
            pipeline.delete(claimed)

        transact(self.connection, [claimed], [("LRANGE", claimed, "0", "-1")], write)

    def _take(self, limit: int) -> list[str]:
        """Move ids to our claimed list; it may hold some already, from a call cut short."""
        num_waiting = self.connection.llen(self.queue.key)
        with self.connection.pipeline(transaction=False) as pipeline:
            for _ in range(min(limit, num_waiting)):
                pipeline.lmove(self.queue.key, self.claimed_key, "LEFT", "RIGHT")
            pipeline.lrange(self.claimed_key, 0, -1)
            job_ids = pipeline.execute()[-1]
        return list(dict.fromkeys(job_id.decode("utf-8", "replace") for job_id in job_ids))

    def _queued(
        self, pipeline: Pipeline, job_ids: list[str], hashes: list[JobHash]
    ) -> list[tuple[Job, JobHash]]:
        """Drop deleted jobs and second copies; fail what is no job at all."""
        queued = []
        for job_id, hash_ in zip(job_ids, hashes, strict=True):
            job = self._job(job_id)
            if not hash_:
                buffer_ended(job_id, pipeline)
            elif hash_.get(b"status") == JobStatus.QUEUED.value.encode() and self._restore(
                pipeline, job, hash_
            ):
                queued.append((job, hash_))
        return queued

    def _job(self, job_id: str) -> Job:
        return Job(job_id, connection=self.connection, serializer=OrjsonSerializer)

    def _restore(self, pipeline: Pipeline, job: Job, hash_: JobHash) -> bool:
        """Read a job's hash into it; fail a job whose hash is none, and return False."""
        try:
            job.restore(hash_)
        except Exception as error:  # noqa: BLE001 - rq raises whatever the bytes provoke
            self._fail(pipeline, job.id, f"{Reason.MALFORMED}: {error}")
            buffer_ended(job.id, pipeline)
            return False
        return True

    def _start(self, pipeline: Pipeline, job: Job, hash_: JobHash) -> Claim:
        execution = Execution.create(job, LEASE_S, pipeline=pipeline, worker_name=self.worker)
        job.prepare_for_execution(self.worker, pipeline=pipeline)
        pipeline.hset(job.key, "execution_id", execution.id)
        return _claim(job, execution, hash_)

    def _claim_of(self, job_id: str, execution_id: str, hash_: JobHash) -> Claim:
        """Return what another process holds, as if it were ours."""
        job = self._job(job_id)
        job.origin = self.queue.name
        worker = hash_.get(b"worker_name", b"").decode()
        execution = Execution(execution_id, job_id, self.connection, worker_name=worker)
        return _claim(job, execution, hash_)

    def _end(self, pipeline: Pipeline, claim: Claim, outcome: Outcome, live: set[str]) -> None:
        job = claim.job
        claim.execution.delete(job, pipeline)
        if isinstance(outcome, Returned | Retried):
            self._requeue(pipeline, job, outcome)
            return
        created = [spec for spec in outcome.follow_ups if spec.id not in live]
        if created:
            # A job of the same id that ended on an earlier attempt makes room.
            pipeline.delete(*(Job.key_for(spec.id) for spec in created))
            buffer_enqueue(created, rq_queue(created[0].queue, self.connection), pipeline)
        if not outcome.follow_ups:
            buffer_ended(job.id, pipeline)
        if isinstance(outcome, Finished):
            self._finish(pipeline, job)
        elif isinstance(outcome, Failed):
            self._fail(pipeline, job.id, outcome.message)

    def _requeue(self, pipeline: Pipeline, job: Job, outcome: Returned | Retried) -> None:
        pipeline.hdel(job.key, "execution_id", "started_at", "worker_name")
        pipeline.hset(job.key, "status", JobStatus.QUEUED.value)
        if isinstance(outcome, Retried):
            pipeline.hincrby(job.key, "retry_count", 1)
            pipeline.rpush(self.queue.key, job.id)
        else:
            pipeline.lpush(self.queue.key, job.id)

    def _finish(self, pipeline: Pipeline, job: Job) -> None:
        """As rq's own success, without the result stream: nobody reads it, and it is most of it."""
        pipeline.hset(job.key, "status", JobStatus.FINISHED.value)
        pipeline.hset(job.key, "ended_at", utcformat(now()))
        pipeline.expire(job.key, self.result_ttl_s)
        self.queue.finished_job_registry.add(job, self.result_ttl_s, pipeline)
        pipeline.hincrby(self.worker_key, "successful_job_count", 1)
        pipeline.hincrbyfloat(self.worker_key, "total_working_time", _age_s(job))

    def _fail(self, pipeline: Pipeline, job_id: str, message: str) -> None:
        """As rq's own failure: few jobs fail, and rq-dashboard shows the message."""
        job = self._job(job_id)
        pipeline.hset(job.key, "status", JobStatus.FAILED.value)
        pipeline.hset(job.key, "ended_at", utcformat(now()))
        pipeline.expire(job.key, self.result_ttl_s)
        Result.create_failure(
            job, self.result_ttl_s, message, worker_name=self.worker, pipeline=pipeline
        )
        pipeline.zadd(self.queue.failed_job_registry.key, {job_id: time.time() + self.result_ttl_s})
        pipeline.hincrby(self.worker_key, "failed_job_count", 1)

    def _after(self, claim: Claim, *, crashed: bool) -> Outcome:
        if not crashed or claim.crash_count < self.max_crashes:
            return Returned()
        message = (
            f"in flight at {claim.crash_count + 1} crashes of its worker, "
            f"more than --max-crashes {self.max_crashes}"
        )
        return rejected(claim, self.queue.name, Reason.CRASHED, message)


def _claim(job: Job, execution: Execution, hash_: JobHash) -> Claim:
    return Claim(
        job=job,
        execution=execution,
        crash_count=count(hash_, b"crash_count"),
        retry_count=count(hash_, b"retry_count"),
    )


def _age_s(job: Job) -> float:
    return (now() - (job.started_at or now())) / timedelta(seconds=1)
