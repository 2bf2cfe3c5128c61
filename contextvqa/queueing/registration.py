"""
A worker as others know it: its key, its place in rq's registries, its claims and leases.

It shares registration, registries and names with rq's own workers, so that `rq info` and
rq-dashboard tell the truth of it.
"""

import logging
import os
import socket
import time
import warnings
from uuid import uuid4

import redis
from rq import worker_registration
from rq.suspension import is_suspended
from rq.utils import now
from rq.worker import BaseWorker, WorkerStatus

from contextvqa.queueing.bookkeeping import LEASE_S
from contextvqa.queueing.claims import WORKER_TTL_S, Claims
from contextvqa.queueing.meter import Meter
from contextvqa.queueing.outcomes import Claim
from contextvqa.queueing.queues import MAX_IN_FLIGHT, OrjsonSerializer, rq_queue
from contextvqa.queueing.reaper import Reaper, process_identity
from contextvqa.queueing.recovery import Recovery
from contextvqa.settings import Daemon, Guards

log = logging.getLogger("contextvqa")


class RegisteredWorker(BaseWorker):
    """One process on one queue. Whatever it does here asks Redis."""

    def __init__(
        self, queue: str, connection: redis.Redis, daemon: Daemon, guards: Guards, place: str
    ) -> None:
        where = "-".join(filter(None, (socket.gethostname(), place)))
        name = f"{queue}-{where}-{os.getpid()}-{uuid4().hex[:8]}"
        super().__init__(
            [rq_queue(queue, connection)],
            name=name,
            connection=connection,
            serializer=OrjsonSerializer,
            worker_ttl=WORKER_TTL_S,
        )
        self.claims = Claims(
            connection,
            queue,
            name,
            process=process_identity(),
            result_ttl_s=daemon.result_ttl_s,
            next_high_water=guards.refine_high_water,
        )
        self.recovery = Recovery(self.claims, daemon.max_crashes)
        self.reaper = Reaper(self.claims, self.recovery)
        self.meter = Meter(queue, name)
        #: What there was room for when it last claimed.
        self.max_in_flight = 0
        #: Whether somebody had suspended all rq workers at the last beat.
        self.is_suspended = False

    def register(self) -> None:
        """Be known from now on."""
        # Not rq's own way, which cannot be repeated when its reply was lost.
        self.birth_date = now()
        self.beat()

    def beat(self) -> list[Claim]:
        """Say that we live, renew leases, reap the dead; return claims that are ours no more."""
        self._send_heartbeat()
        # Without rq's worker argument, which would give our key another life.
        self.is_suspended = bool(is_suspended(self.connection))
        self.recovery.take_back_strays(self.executions_key)
        reaped = self.reaper.reap()
        self.meter.note_reaped(reaped)
        if reaped:
            log.info("reaped: %d jobs of dead workers are back in the queue", reaped)
        resumed = self.recovery.bring_back()
        if resumed:
            log.info("resumed: %d jobs that were put aside are back in the queue", resumed)
        return self.claims.renew()

    def _send_heartbeat(self) -> None:
        """Write all of our key: it may have expired, or Redis may have lost it."""
        now_s = time.time()
        state = WorkerStatus.BUSY if self.claims.held else WorkerStatus.IDLE
        with self.connection.pipeline(transaction=True) as pipeline:
            pipeline.hset(self.claims.claimants_key, self.name, self.claims.process)
            self.heartbeat(WORKER_TTL_S, pipeline)
            # Outlives our key: it says what a transaction whose reply was lost has started for us.
            pipeline.expire(self.executions_key, LEASE_S)
            self.set_state(state.value, pipeline)
            pipeline.hset(self.key, mapping={**self.serialize(), MAX_IN_FLIGHT: self.max_in_flight})
            worker_registration.register(self, pipeline)
            for queue in self.queues:
                pipeline.zremrangebyscore(queue.finished_job_registry.key, 0, now_s)
                pipeline.zremrangebyscore(queue.failed_job_registry.key, 0, now_s)
            pipeline.execute()

    def deregister(self) -> None:
        """Give back whatever is still ours, and be known no more."""
        # What a cancelled task left between Redis and us: nobody would look for it later.
        self.claims.held.clear()
        self.recovery.take_back_strays(self.executions_key)
        self.recovery.put_back(self.claims.claimed_key)
        self.register_death()  # type: ignore[no-untyped-call]
        self.connection.hdel(self.claims.claimants_key, self.name)

    def _set_ip_address(self, connection: redis.Redis) -> None:
        # A user who has no right to that lacks others too, and is told so by an error.
        with warnings.catch_warnings(action="ignore"):
            super()._set_ip_address(connection)
