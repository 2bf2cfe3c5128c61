"""
Taking back what nobody works on any more. As safe to repeat, and as fenced, as claiming.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job, JobStatus

from contextvqa.claims import Claims, claim_of
from contextvqa.errors import RejectError
from contextvqa.job_hash import (
    ExecutionId,
    JobHash,
    executions_in,
    job_ids_in,
    job_of,
    restore,
    text_of,
)
from contextvqa.jobs import run_and_key
from contextvqa.outcomes import Claim, Outcome, Returned, crashed, is_ours
from contextvqa.queues import PAUSED
from contextvqa.transactions import RedisCommand, transact

#: Jobs taken back in one transaction.
BATCH = 200


class Recovery:
    """Takes back jobs of one queue, in the name of one worker."""

    def __init__(self, claims: Claims, max_crashes: int) -> None:
        self.claims = claims
        self.connection = claims.connection
        self.queue = claims.queue
        self.max_crashes = max_crashes

    def take_back_crashed(self, executions: Sequence[ExecutionId]) -> int:
        """Return jobs of dead workers to the queue, or reject them; say how many were theirs."""
        return self._take_back(
            executions, lambda claim: crashed(claim, self.queue.name, self.max_crashes)
        )

    def take_back_strays(self, executions_key: str) -> int:
        """Return jobs that were started for us in a transaction whose reply was lost."""
        executions = executions_in(self.connection.smembers(executions_key))
        strays = [pair for pair in executions if ":".join(pair) not in self.claims.held]
        return self._take_back(strays, lambda _: Returned())

    def put_back(self, claimed: str) -> None:
        """Return the ids of a claimed list, none of them started, to the queue."""

        def write(pipeline: Pipeline, replies: list[Any]) -> None:
            if replies[0]:
                pipeline.lpush(self.queue.key, *reversed(replies[0]))
            pipeline.delete(claimed)

        transact(self.connection, [claimed], [("LRANGE", claimed, "0", "-1")], write)

    def bring_back(self) -> int:
        """Return jobs that were put aside, and whose runs were resumed since, to the queue."""
        registry = self.queue.deferred_job_registry.key
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.hkeys(PAUSED)
            pipeline.zcard(registry)
            paused, num_aside = pipeline.execute()
        self.claims.paused = set(map(text_of, paused))
        if not num_aside:
            return 0
        # Last first: each batch goes before the ones that were put aside after it.
        aside = job_ids_in(self.connection.zrevrange(registry, 0, -1))
        free = [job_id for job_id in aside if self._is_free(job_id)]
        return sum(self._bring_back(registry, batch) for batch in _batches(free))

    def _is_free(self, job_id: str) -> bool:
        named = run_and_key(job_id)
        return named is not None and named[0] not in self.claims.paused

    def _bring_back(self, registry: str, job_ids: Sequence[str]) -> int:
        keys = [Job.key_for(job_id) for job_id in job_ids]

        def write(pipeline: Pipeline, statuses: list[Any]) -> int:
            pipeline.zrem(registry, *job_ids)
            deferred = [
                job_id
                for job_id, status in zip(job_ids, statuses, strict=True)
                if status == JobStatus.DEFERRED.value.encode()
            ]
            for job_id in deferred:
                pipeline.hset(Job.key_for(job_id), "status", JobStatus.QUEUED.value)
            if deferred:
                pipeline.lpush(self.queue.key, *deferred)
            return len(deferred)

        return transact(self.connection, keys, [("HGET", key, "status") for key in keys], write)

    def _take_back(
        self, executions: Sequence[ExecutionId], ending: Callable[[Claim], Outcome]
    ) -> int:
        return sum(self._take_back_batch(batch, ending) for batch in _batches(executions))

    def _take_back_batch(
        self, executions: Sequence[ExecutionId], ending: Callable[[Claim], Outcome]
    ) -> int:
        keys = [Job.key_for(job_id) for job_id, _ in executions]
        reads: list[RedisCommand] = [("HGETALL", key) for key in keys]

        def write(pipeline: Pipeline, hashes: list[JobHash]) -> int:
            claims = [
                self._claim_of(job_id, execution_id, hash_)
                for (job_id, execution_id), hash_ in zip(executions, hashes, strict=True)
            ]
            return sum(
                self._end(pipeline, claim, hash_, ending)
                for claim, hash_ in zip(claims, hashes, strict=True)
            )

        return transact(self.connection, keys, reads, write)

    def _end(
        self,
        pipeline: Pipeline,
        claim: Claim,
        hash_: JobHash,
        ending: Callable[[Claim], Outcome],
    ) -> bool:
        """End a dead execution; return whether the job was still its own."""
        if not is_ours(claim, (hash_.get(b"status"), hash_.get(b"execution_id"))):
            claim.execution.delete(claim.job, pipeline)
            return False
        try:
            restore(claim.job, hash_)
        except RejectError as error:
            claim.execution.delete(claim.job, pipeline)
            self.claims.endings.fail_unread(pipeline, claim.job.id, f"{error.reason}: {error}")
        else:
            self.claims.endings.end(pipeline, claim, ending(claim))
        return True

    def _claim_of(self, job_id: str, execution_id: str, hash_: JobHash) -> Claim:
        """Return what another process holds, as if it were ours."""
        job = job_of(job_id, self.connection)
        job.origin = self.queue.name
        worker = hash_.get(b"worker_name", b"").decode("utf-8", "replace")
        execution = Execution(execution_id, job_id, self.connection, worker_name=worker)
        return claim_of(job, execution, hash_)


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
