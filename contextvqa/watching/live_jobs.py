"""What Redis holds of one record: its jobs, and where they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import redis
from rq.job import JobStatus

from contextvqa.errors import RejectError
from contextvqa.queueing.job_hash import JobFields, StoredJob, count, reading, text_of, time_of
from contextvqa.queueing.jobs import QUEUES, Content, Kind, content_of, job_id, record_in, record_of
from contextvqa.queueing.queues import LIVE, job_key, pending_key, rq_queue
from contextvqa.queueing.runs import Runs
from contextvqa.queueing.transactions import RedisCommand, ask
from contextvqa.records import RecordId

#: Records whose jobs are read at once, in search of an id.
BATCH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """One job of a record."""

    kind: Kind
    status: str
    #: Unix seconds.
    enqueued_at: float | None
    started_at: float | None
    ended_at: float | None
    #: Whose it is, if it has started.
    worker: str
    crash_count: int
    retry_count: int
    #: What it carries; None where that is not readable.
    content: Content | None
    #: Jobs before it, and on its queue, if it waits there.
    position: int | None
    num_queued: int

    @property
    def is_live(self) -> bool:
        """Whether it will still run, or runs."""
        return self.status.encode() in LIVE

    @property
    def attempt(self) -> int | None:
        """The attempt that it is of."""
        if self.content is None:
            return None
        tries = self.retry_count if self.kind is Kind.GENERATE else 0
        return record_in(self.content).attempt + tries


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordInRedis:
    """What Redis holds of one record."""

    is_pending: bool
    jobs: tuple[JobView, ...] = ()

    @property
    def live_job(self) -> JobView | None:
        """The job that carries it on."""
        return next((job for job in self.jobs if job.is_live), None)


def look(connection: redis.Redis, run: str, key: str) -> RecordInRedis:
    """Return what Redis holds of a record now, seen at one moment but for its place in a queue."""
    ids = {kind: job_id(run, key, kind) for kind in Kind}
    reads = [("HMGET", job_key(name), "ended_at", "worker_name") for name in ids.values()]
    (is_pending,), *replies = ask(
        connection, [("SMISMEMBER", pending_key(run), key), *reading(list(ids.values())), *reads]
    )
    rows = zip(ids.items(), replies[: len(ids)], replies[len(ids) :], strict=True)
    jobs = [
        _view(connection, kind, name, JobFields(*fields), ended_at, worker)
        for (kind, name), fields, (ended_at, worker) in rows
        if fields[JobFields._fields.index("status")] is not None
    ]
    return RecordInRedis(is_pending=bool(is_pending), jobs=tuple(jobs))


def keys_of_id(connection: redis.Redis, run: str, record_id: RecordId) -> Iterator[str]:
    """Yield the keys of the records on their way that have this id in their input."""
    keys = iter(Runs(connection).pending_keys(run))
    while batch := list(islice(keys, BATCH)):
        names = [job_id(run, key, kind) for key in batch for kind in Kind]
        for name, row in zip(names, ask(connection, reading(names)), strict=True):
            try:
                record = record_of(StoredJob.read(name, JobFields(*row)).content[1])
            except RejectError:
                continue  # there is no such job, or it does not say whose it is
            if record.id == record_id:
                yield record.key


def _view(  # noqa: PLR0913, PLR0917 - what three replies say
    connection: redis.Redis,
    kind: Kind,
    name: str,
    fields: JobFields,
    ended_at: bytes | None,
    worker: bytes | None,
) -> JobView:
    status = text_of(fields.status)
    position, num_queued = None, 0
    if status == JobStatus.QUEUED.value:
        queue = rq_queue(QUEUES[kind], connection).key
        commands: list[RedisCommand] = [("LPOS", queue, name), ("LLEN", queue)]
        position, num_queued = ask(connection, commands)
    return JobView(
        kind=kind,
        status=status,
        enqueued_at=time_of(fields.enqueued_at),
        started_at=time_of(fields.started_at),
        ended_at=time_of(ended_at),
        worker=text_of(worker or b""),
        crash_count=count(fields.crash_count),
        retry_count=count(fields.retry_count),
        content=_content(kind, name, fields),
        position=position,
        num_queued=num_queued,
    )


def _content(kind: Kind, name: str, fields: JobFields) -> Content | None:
    try:
        return content_of(StoredJob.read(name, fields).content[1], QUEUES[kind])
    except RejectError:
        return None
