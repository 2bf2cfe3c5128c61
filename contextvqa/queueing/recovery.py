"""
Taking back what nobody works on any more. As safe to repeat, and as fenced, as claiming.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.client import Pipeline
from rq.job import JobStatus

from contextvqa.errors import RejectError
from contextvqa.queueing import bookkeeping
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.job_hash import (
    Execution,
    JobFields,
    StoredJob,
    executions_in,
    job_ids_in,
    reading,
    text_of,
    time_of,
)
from contextvqa.queueing.jobs import run_and_key
from contextvqa.queueing.outcomes import Claim, Outcome, Returned, crashed, is_ours
from contextvqa.queueing.queues import PAUSED, job_key
from contextvqa.queueing.transactions import ask, transact

#: Jobs taken back in one transaction.
BATCH = 200


class Recovery:
    """Takes back jobs of one queue, in the name of one worker."""

    def __init__(self, claims: Claims, max_crashes: int) -> None:
        self.claims = claims
        self.connection = claims.connection
        self.queue = claims.queue
        self.max_crashes = max_crashes

    def take_back_crashed(self, executions: Sequence[Execution]) -> int:
        """Return jobs of dead workers to the queue, or reject them; say how many were theirs."""
        return self._take_back(
            executions, lambda claim: crashed(claim, self.queue.name, self.max_crashes)
        )

    def take_back_strays(self, executions_key: str) -> int:
        """Return jobs that were started for us in a transaction whose reply was lost."""
        executions = executions_in(self.connection.smembers(executions_key))
        strays = [
            execution._replace(worker=self.claims.worker)
            for execution in executions
            if execution.composite_key not in self.claims.held
        ]
        return self._take_back(strays, lambda _: Returned())

    def put_back(self, claimed: str) -> None:
        """Return the ids of a claimed list, none of them started, to the queue."""

        def write(pipeline: Pipeline, replies: list[Any]) -> None:
            if replies[0]:
                pipeline.lpush(self.queue.key, *reversed(replies[0]))
            pipeline.delete(claimed)

        transact(self.connection, [claimed], [("LRANGE", claimed, 0, -1)], write)

    def bring_back(self) -> int:
        """Return jobs that were put aside, and whose runs were resumed since, to the queue."""
        registry = self.queue.deferred_job_registry.key
        paused, num_aside = ask(self.connection, [("HKEYS", PAUSED), ("ZCARD", registry)])
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
        keys = [job_key(job_id) for job_id in job_ids]

        def write(pipeline: Pipeline, statuses: list[Any]) -> int:
            pipeline.zrem(registry, *job_ids)
            deferred = [
                job_id
                for job_id, status in zip(job_ids, statuses, strict=True)
                if status == JobStatus.DEFERRED.value.encode()
            ]
            for job_id in deferred:
                pipeline.hset(job_key(job_id), "status", JobStatus.QUEUED.value)
            if deferred:
                pipeline.lpush(self.queue.key, *deferred)
            return len(deferred)

        return transact(self.connection, keys, [("HGET", key, "status") for key in keys], write)

    def _take_back(
        self, executions: Sequence[Execution], ending: Callable[[Claim], Outcome]
    ) -> int:
        return sum(self._take_back_batch(batch, ending) for batch in _batches(executions))

    def _take_back_batch(
        self, executions: Sequence[Execution], ending: Callable[[Claim], Outcome]
    ) -> int:
        job_ids = [execution.job_id for execution in executions]

        def write(pipeline: Pipeline, rows: list[Any]) -> int:
            endings: list[tuple[Claim, Outcome]] = []
            not_owners = []
            for execution, row in zip(executions, rows, strict=True):
                claim = self._claim_of(pipeline, execution, JobFields(*row))
                if claim is None:
                    not_owners.append(execution)
                else:
                    endings.append((claim, ending(claim)))
            bookkeeping.drop(pipeline, self.queue, not_owners)
            self.claims.endings.end(pipeline, endings)
            return len(endings)

        return transact(
            self.connection, [job_key(name) for name in job_ids], reading(job_ids), write
        )

    def _claim_of(
        self, pipeline: Pipeline, execution: Execution, fields: JobFields
    ) -> Claim | None:
        """Return what another process holds, as if it were ours; None if it holds no job."""
        if not is_ours(execution, fields.fence):
            return None
        try:
            job = StoredJob.read(execution.job_id, fields)
        except RejectError as error:
            self.claims.endings.fail_unread(pipeline, execution.job_id, f"{error.reason}: {error}")
            return None
        started_at = time_of(fields.started_at)
        held_s = 0.0 if started_at is None else time.time() - started_at
        return Claim(job=job, execution=execution, claimed_at=time.monotonic() - held_s)


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
