"""The state of a run, read from its directory and from Redis."""

from dataclasses import dataclass, field

import redis
from rq.worker_registration import REDIS_WORKER_KEYS

from contextvqa.queueing.job_hash import count, text_of
from contextvqa.queueing.pauses import Pause, pause_of
from contextvqa.queueing.queues import (
    GENERATE,
    MAX_IN_FLIGHT,
    REFINE,
    rq_queue,
    worker_executions_key,
    worker_key,
)
from contextvqa.queueing.runs import Runs
from contextvqa.queueing.transactions import RedisCommand, ask
from contextvqa.storage.follower import OnRead
from contextvqa.storage.rejects import Rejects
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching.funnel import Funnel, FunnelState

#: What is read of a worker's hash, in this order. One that is gone has no birth.
WORKER_FIELDS = (
    *("birth", "queues", "state", MAX_IN_FLIGHT),
    *("successful_job_count", "failed_job_count"),
)
#: No worker settles more.
MAX_SETTLED = 10**12


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueState:
    """Jobs of all runs on one queue, as rq's registries have them."""

    queued: int
    started: int
    #: Put aside, because their runs are paused.
    deferred: int
    finished: int
    failed: int

    @property
    def live(self) -> int:
        """Jobs that will still run."""
        return self.queued + self.started + self.deferred


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerState:
    """One live worker process."""

    name: str
    queue: str
    state: str
    settled: int
    in_flight: int = 0
    #: What it holds at most, as of its last beat; None where it has not said.
    max_in_flight: int | None = None

    @property
    def occupancy(self) -> str:
        """How much of what it can hold it has in flight."""
        limit = "?" if self.max_in_flight is None else self.max_in_flight
        return f"{self.in_flight} of {limit}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """What is known of a run at one moment. None: Redis cannot be asked."""

    run: str
    accepted: int
    rejected: int
    pending: int | None
    queues: dict[str, QueueState] = field(default_factory=dict)
    workers: tuple[WorkerState, ...] = ()
    paused: Pause | None = None

    @property
    def is_idle(self) -> bool:
        """Whether Redis holds no work, whatever may be counted as pending."""
        return not any(queue.live for queue in self.queues.values())

    @property
    def ended(self) -> int:
        """Records with an outcome."""
        return self.accepted + self.rejected


class RunWatcher:
    """Looks at one run again and again; each look reads only what is new in the files."""

    def __init__(self, directory: RunDirectory, connection: redis.Redis | None) -> None:
        self.directory = directory
        self.connection = connection
        self._rejects = Rejects(directory)
        self._results = self._rejects.results
        self._funnel = Funnel(self._rejects)

    def look(self) -> RunState:
        """
        Return the state now.

        Raises:
            RunError: A results or rejects line is damaged.

        """
        # Redis first: a job is settled after its line, so that no record is in neither.
        pending, queues, workers, paused = self._look_at_redis()
        self._rejects.follow()
        return RunState(
            run=self.directory.run,
            accepted=len(self._results),
            rejected=self._num_rejected(),
            pending=pending,
            queues=queues,
            workers=workers,
            paused=paused,
        )

    def funnel(self, on_read: OnRead) -> FunnelState:
        """
        Return the funnel as of the last `look`; a run that nobody asked about takes minutes.

        Args:
            on_read: Told how many bytes of the run's files are read, and how many there are.

        Raises:
            RunError: A results or rejects line is damaged.

        """
        return self._funnel.look(on_read)

    def _num_rejected(self) -> int:
        """Count the rejects that are not being tried again."""
        num_rejected = self._rejects.num_counting
        if not num_rejected or self.connection is None:
            return num_rejected
        keys = Runs(self.connection).pending_keys(self.directory.run)
        return num_rejected - sum(map(self._rejects.counts, keys))

    def _look_at_redis(
        self,
    ) -> tuple[int | None, dict[str, QueueState], tuple[WorkerState, ...], Pause | None]:
        if self.connection is None:
            return None, {}, (), None
        pending = Runs(self.connection).num_pending(self.directory.run)
        queues = {name: _queue_state(name, self.connection) for name in (GENERATE, REFINE)}
        paused = pause_of(self.connection, self.directory.run)
        return pending, queues, _workers(self.connection), paused


def _queue_state(name: str, connection: redis.Redis) -> QueueState:
    queue = rq_queue(name, connection)
    return QueueState(
        queued=queue.count,
        # Without rq's own clean-up, which judges executions that are not its own.
        started=queue.started_job_registry.get_job_count(cleanup=False),
        deferred=queue.deferred_job_registry.get_job_count(cleanup=False),
        finished=queue.finished_job_registry.get_job_count(cleanup=False),
        failed=queue.failed_job_registry.get_job_count(cleanup=False),
    )


def _workers(connection: redis.Redis) -> tuple[WorkerState, ...]:
    # Not by rq's own `all`, which fails as a whole where one of the hashes is not a worker's.
    keys = sorted(map(text_of, connection.smembers(REDIS_WORKER_KEYS)))
    names = [key.removeprefix(worker_key("")) for key in keys]
    reads: list[RedisCommand] = [("HMGET", key, *WORKER_FIELDS) for key in keys]
    reads += [("SCARD", worker_executions_key(name)) for name in names]
    replies = ask(connection, reads, raise_on_error=False)
    rows, numbers = replies[: len(keys)], replies[len(keys) :]
    return tuple(
        _worker(name, num_in_flight, *row)
        for name, row, num_in_flight in zip(names, rows, numbers, strict=True)
        if isinstance(row, list) and row[0] is not None and isinstance(num_in_flight, int)
    )


def _worker(
    name: str,
    num_in_flight: int,
    _: bytes,
    queues: bytes,
    state: bytes,
    limit: bytes | None,
    *counts: bytes | None,
) -> WorkerState:
    return WorkerState(
        name=name,
        queue=text_of(queues),
        state=text_of(state),
        in_flight=num_in_flight,
        max_in_flight=None if limit is None else count(limit),
        settled=sum(count(value, most=MAX_SETTLED) for value in counts),
    )
