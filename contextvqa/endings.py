"""
How executions end in Redis: each outcome as commands that one transaction buffers.

As rq itself does it, so that its registries stay true, and with fewer commands.
"""

import time
from collections.abc import Container
from datetime import timedelta

from redis.client import Pipeline
from rq import Queue
from rq.job import Job, JobStatus
from rq.results import Result
from rq.utils import now, utcformat

from contextvqa.job_hash import job_of
from contextvqa.jobs import buffer_ended, buffer_enqueue
from contextvqa.outcomes import Claim, Failed, Finished, Outcome, Retried, Returned
from contextvqa.queues import rq_queue, worker_key


class Endings:
    """Ends executions of one queue in the name of one worker. Sends nothing itself."""

    def __init__(self, queue: Queue, worker: str, result_ttl_s: int) -> None:
        self.queue = queue
        self.worker = worker
        self.worker_key = worker_key(worker)
        self.result_ttl_s = result_ttl_s

    def end(
        self, pipeline: Pipeline, claim: Claim, outcome: Outcome, live: Container[str] = ()
    ) -> None:
        """
        Buffer the end of a claim that is still its owner's.

        Args:
            live: Ids of follow-ups that are on their way already: they are not enqueued again.

        """
        job = claim.job
        claim.execution.delete(job, pipeline)
        if isinstance(outcome, Returned | Retried):
            self._requeue(pipeline, job, outcome)
            return
        created = [spec for spec in outcome.follow_ups if spec.id not in live]
        if created:
            # A job of the same id that ended on an earlier attempt makes room.
            pipeline.delete(*(Job.key_for(spec.id) for spec in created))
            buffer_enqueue(created, rq_queue(created[0].queue, self.queue.connection), pipeline)
        if not outcome.follow_ups:
            buffer_ended(job.id, pipeline)
        if isinstance(outcome, Finished):
            self._finish(pipeline, job)
        elif isinstance(outcome, Failed):
            self._fail(pipeline, job.id, outcome.message)

    def fail_unread(self, pipeline: Pipeline, job_id: str, message: str) -> None:
        """Buffer the failure of what no claim can be made of; its record is not on its way."""
        self._fail(pipeline, job_id, message)
        buffer_ended(job_id, pipeline)

    def put_aside(self, pipeline: Pipeline, job_id: str) -> None:
        """Buffer that a queued job waits, outside its queue, until its run is resumed."""
        pipeline.hset(Job.key_for(job_id), "status", JobStatus.DEFERRED.value)
        pipeline.zadd(self.queue.deferred_job_registry.key, {job_id: time.time()})

    def _requeue(self, pipeline: Pipeline, job: Job, outcome: Returned | Retried) -> None:
        pipeline.hdel(job.key, "execution_id", "started_at", "worker_name")
        pipeline.hset(job.key, "status", JobStatus.QUEUED.value)
        if isinstance(outcome, Retried):
            pipeline.hincrby(job.key, "retry_count", 1)
            pipeline.rpush(self.queue.key, job.id)
            return
        if outcome.has_crashed:
            pipeline.hincrby(job.key, "crash_count", 1)
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
        job = job_of(job_id, self.queue.connection)
        pipeline.hset(job.key, "status", JobStatus.FAILED.value)
        pipeline.hset(job.key, "ended_at", utcformat(now()))
        pipeline.expire(job.key, self.result_ttl_s)
        Result.create_failure(
            job, self.result_ttl_s, message, worker_name=self.worker, pipeline=pipeline
        )
        pipeline.zadd(self.queue.failed_job_registry.key, {job_id: time.time() + self.result_ttl_s})
        pipeline.hincrby(self.worker_key, "failed_job_count", 1)


def _age_s(job: Job) -> float:
    return (now() - (job.started_at or now())) / timedelta(seconds=1)
