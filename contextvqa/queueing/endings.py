"""
How executions end in Redis: the outcomes of many as commands that one transaction buffers.
"""

import time
from collections.abc import Container, Sequence
from itertools import groupby
from operator import attrgetter

from redis.client import Pipeline
from rq import Queue
from rq.job import Job, JobStatus
from rq.results import Result
from rq.utils import now, utcformat

from contextvqa.queueing import bookkeeping
from contextvqa.queueing.outcomes import Claim, Failed, Finished, Outcome, Retried, Returned
from contextvqa.queueing.queues import OrjsonSerializer, job_key, rq_queue, worker_key

#: Claims that are still their owners', and how they end.
ClaimEndings = Sequence[tuple[Claim, Outcome]]


class Endings:
    """Ends executions of one queue in the name of one worker. Sends nothing itself."""

    def __init__(self, queue: Queue, worker: str, result_ttl_s: int) -> None:
        self.queue = queue
        self.worker = worker
        self.worker_key = worker_key(worker)
        self.result_ttl_s = result_ttl_s

    def end(self, pipeline: Pipeline, endings: ClaimEndings, live: Container[str] = ()) -> None:
        """
        Buffer the ends of claims.

        Args:
            live: Ids of follow-ups that are on their way already: they are not enqueued again.

        """
        bookkeeping.drop(pipeline, self.queue, [claim.execution for claim, _ in endings])
        self._enqueue_follow_ups(pipeline, endings, live)
        self._requeue(pipeline, endings)
        finished = [claim for claim, outcome in endings if isinstance(outcome, Finished)]
        self._finish(pipeline, finished)
        for claim, outcome in endings:
            if isinstance(outcome, Failed):
                self._fail(pipeline, claim.job.id, outcome.message)
        ended = [
            claim.job.id
            for claim, outcome in endings
            if isinstance(outcome, Finished | Failed) and not outcome.follow_ups
        ]
        bookkeeping.forget_pending(pipeline, ended)

    def fail_unread(self, pipeline: Pipeline, job_id: str, message: str) -> None:
        """Buffer the failure of what no claim can be made of; its record is not on its way."""
        self._fail(pipeline, job_id, message)
        bookkeeping.forget_pending(pipeline, [job_id])

    def put_aside(self, pipeline: Pipeline, job_id: str) -> None:
        """Buffer that a queued job waits, outside its queue, until its run is resumed."""
        pipeline.hset(job_key(job_id), "status", JobStatus.DEFERRED.value)
        pipeline.zadd(self.queue.deferred_job_registry.key, {job_id: time.time()})

    def _enqueue_follow_ups(
        self, pipeline: Pipeline, endings: ClaimEndings, live: Container[str]
    ) -> None:
        created = [
            spec for _, outcome in endings for spec in outcome.follow_ups if spec.id not in live
        ]
        created.sort(key=attrgetter("queue"))
        for name, group in groupby(created, attrgetter("queue")):
            specs = list(group)
            queue = rq_queue(name, self.queue.connection)
            bookkeeping.make_room(pipeline, queue, [spec.id for spec in specs])
            bookkeeping.enqueue(pipeline, queue, specs)

    def _requeue(self, pipeline: Pipeline, endings: ClaimEndings) -> None:
        """Put jobs back: those to be tried again at the end, the others where they came from."""
        for claim, outcome in endings:
            if not isinstance(outcome, Returned | Retried):
                continue
            pipeline.hdel(claim.job.key, "execution_id", "started_at", "worker_name")
            pipeline.hset(claim.job.key, "status", JobStatus.QUEUED.value)
            if isinstance(outcome, Retried):
                pipeline.hincrby(claim.job.key, "retry_count", 1)
                pipeline.rpush(self.queue.key, claim.job.id)
            elif outcome.has_crashed:
                pipeline.hincrby(claim.job.key, "crash_count", 1)
        returned = [claim.job.id for claim, outcome in endings if isinstance(outcome, Returned)]
        if returned:
            pipeline.lpush(self.queue.key, *reversed(returned))

    def _finish(self, pipeline: Pipeline, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        job_ids = [claim.job.id for claim in claims]
        bookkeeping.finish(pipeline, self.queue, job_ids, self.result_ttl_s)
        working_s = sum(time.monotonic() - claim.claimed_at for claim in claims)
        pipeline.hincrby(self.worker_key, "successful_job_count", len(claims))
        pipeline.hincrbyfloat(self.worker_key, "total_working_time", working_s)

    def _fail(self, pipeline: Pipeline, job_id: str, message: str) -> None:
        """As rq's own failure: few jobs fail, and rq-dashboard shows the message."""
        job = Job(job_id, connection=self.queue.connection, serializer=OrjsonSerializer)
        fields: bookkeeping.Fields = {
            "status": JobStatus.FAILED.value,
            "ended_at": utcformat(now()),
        }
        pipeline.hset(job.key, mapping=fields)
        pipeline.expire(job.key, self.result_ttl_s)
        Result.create_failure(
            job, self.result_ttl_s, message, worker_name=self.worker, pipeline=pipeline
        )
        pipeline.zadd(self.queue.failed_job_registry.key, {job_id: time.time() + self.result_ttl_s})
        pipeline.hincrby(self.worker_key, "failed_job_count", 1)
