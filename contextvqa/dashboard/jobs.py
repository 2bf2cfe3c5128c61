"""
rq's jobs, queues and workers as the dashboard's pages see them.

Whoever can write to Redis may have written what they read, in any form. So they read no payload,
result or metadata of a job at all, and would decode them as JSON; rq's default is pickle. What rq
stumbles over is left out, or said to be unreadable, and the rest of the page is there.
"""

import logging
from typing import Any

import redis
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.results import Result
from rq.worker import BaseWorker

from contextvqa.errors import one_line
from contextvqa.queueing.job_hash import ANY_JOB_ID
from contextvqa.queueing.jobs import QUEUES
from contextvqa.queueing.queues import GENERATE, OrjsonSerializer

log = logging.getLogger("contextvqa")

#: Errors that say nothing of what was read.
AWAY = (redis.ConnectionError, redis.TimeoutError)
#: The fields of a job's hash that pages show.
SHOWN = ("created_at", "enqueued_at", "started_at", "ended_at", "origin", "description", "status")


class ShownJob(Job):
    """A job's fields without what it carries."""

    def __init__(self, id: str, connection: redis.Redis, serializer: object = None) -> None:  # noqa: A002, ARG002 - rq's names
        super().__init__(id, connection=connection, serializer=OrjsonSerializer)

    def refresh(self) -> None:
        """
        Read it from Redis; as far as that can be read.

        Raises:
            NoSuchJobError: There is none.

        """
        try:
            values = self.connection.hmget(self.key, SHOWN)
        except redis.ResponseError as error:
            raise NoSuchJobError(f"{self.key} is no job's hash") from error
        found = {name: value for name, value in zip(SHOWN, values, strict=True) if value}
        if not found:
            raise NoSuchJobError(f"No such job: {self.key}")
        try:
            self.restore({**found, "data": b""})
        except Exception as error:  # noqa: BLE001 - whatever hostile bytes provoke in rq
            self.description = f"unreadable: {one_line(error)}"

    def get_status(self, refresh: bool = True) -> JobStatus | None:  # type: ignore[override] # noqa: ARG002
        """Return its status as it was read; None where that cannot be read."""
        return self._status

    def latest_result(self, timeout: int = 0) -> Result | None:  # noqa: ARG002 - rq's name
        """Return why it failed; None for a job that did not, or that is being tried again."""
        if self._status != JobStatus.FAILED:
            return None
        try:
            return Result.fetch_latest(self, serializer=OrjsonSerializer)
        except AWAY:
            raise
        except Exception:  # noqa: BLE001 - whatever hostile bytes provoke in rq
            log.warning("dashboard: the result of job %s cannot be read", self.id)
            return None

    def return_value(self, refresh: bool = False) -> None:
        """Nothing: what our jobs make is in the run directory."""

    def get_meta(self, refresh: bool = True) -> dict[str, Any]:  # noqa: ARG002 - rq's name
        """Nothing: our jobs have none."""
        return {}

    def get_call_string(self) -> str:
        """Return its description, without the record that it carries."""
        return self.description or ""


class ShownQueue(Queue):
    """One of our queues."""

    job_class = ShownJob

    def __init__(self, name: str = GENERATE, connection: Any = None, **_: object) -> None:
        super().__init__(
            name, connection=connection, job_class=ShownJob, serializer=OrjsonSerializer
        )

    @classmethod
    def all(cls, connection: redis.Redis, *_: object, **__: object) -> list[Queue]:
        """Return ours alone, also those that nothing was put into yet."""
        return [cls(name, connection=connection) for name in dict.fromkeys(QUEUES.values())]

    def fetch_job(self, job_id: str) -> Job | None:
        """Return a job; None for an id that is none, which rq would strike off the queue."""
        if not ANY_JOB_ID.fullmatch(job_id):
            return None
        try:
            return ShownJob.fetch(job_id, connection=self.connection)
        except NoSuchJobError:
            return None


class ShownWorker(Worker):
    """A worker with what it has in flight."""

    job_class: type[Job] = ShownJob
    queue_class: type[Queue] = ShownQueue

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"serializer": OrjsonSerializer})

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        """Leave the connection's timeouts as they are: rq would wait 7 minutes."""
        return connection

    @classmethod
    def find_by_key(
        cls, worker_key: str, connection: redis.Redis, *arguments: Any, **options: Any
    ) -> BaseWorker | None:
        """Return a worker; None for one that cannot be read or has gone, which rq would strike off."""
        try:
            is_name = worker_key.startswith(cls.redis_worker_namespace_prefix)
            if is_name and not connection.exists(worker_key):
                return None
            return super().find_by_key(worker_key, connection, *arguments, **options)
        except AWAY:
            raise
        except Exception:  # noqa: BLE001 - whatever hostile bytes provoke in rq
            log.warning("dashboard: worker %r cannot be read", worker_key)
            return None

    def get_current_job(self) -> Job | None:
        """Return one of the jobs in flight, which also says how many there are."""
        try:
            job = super().get_current_job()
        except AWAY:
            raise
        except Exception:  # noqa: BLE001 - whatever hostile bytes provoke in rq
            return None  # or it has just ended
        if job is not None:
            job.description = f"{self.current_execution_count} in flight, one: {job.description}"
        return job
