"""From a claim to its outcome: the class of an error decides what becomes of the record."""

import asyncio
import logging
import random

from redis import RedisError
from redis.exceptions import NoPermissionError

from contextvqa.errors import (
    ContextVQAError,
    Reason,
    RejectError,
    RunError,
    TransientError,
    UnavailableError,
)
from contextvqa.queueing.breaker import Breaker
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.jobs import FUNCTIONS, Content, record_in, run_and_key
from contextvqa.queueing.meter import Meter
from contextvqa.queueing.outcomes import (
    Claim,
    Outcome,
    Retried,
    Returned,
    read_content,
    rejected,
)
from contextvqa.queueing.pauses import Pause
from contextvqa.queueing.redis_thread import RedisThread
from contextvqa.queueing.stage import Stage
from contextvqa.settings import Daemon

log = logging.getLogger("contextvqa")

#: Longest wait before another try, in seconds, give or take half: it keeps a slot.
MAX_RETRY_WAIT_S = 60.0
MAX_DOUBLINGS = 20
#: What the breaker calls a failure that may pass.
TRANSIENT = "transient"
#: Why a run is paused whose own files are at fault.
RUN_DIRECTORY = "run_directory"


class Executor:
    """Executes the jobs that one worker claimed."""

    def __init__(
        self, stage: Stage, claims: Claims, redis: RedisThread, meter: Meter, daemon: Daemon
    ) -> None:
        self.stage = stage
        self.claims = claims
        self.redis = redis
        self.meter = meter
        self.daemon = daemon
        self.breaker = Breaker(daemon.breaker_window, daemon.breaker_share)
        #: Runs on their way to be paused.
        self._pausing: set[str] = set()

    async def execute(self, claim: Claim) -> Outcome:
        """
        Run one job to its outcome.

        Raises:
            ContextVQAError: The stage cannot go on, with this job or any other.

        """
        try:
            content = self._check(claim)
            outcome = await self.stage.execute(claim, content)
        except RejectError as error:
            return await self._reject(claim, error)
        except TransientError as error:
            return await self._retry(claim, str(error))
        except RunError as error:
            await self._pause(claim, RUN_DIRECTORY, str(error))
            return Returned()
        except ContextVQAError:
            raise
        except NoPermissionError as error:
            # Nor will it be another time, of any record.
            raise UnavailableError(f"Redis refuses a command: {error}") from error
        except RedisError as error:
            # Not the record's fault, nor the run's: whoever settles this waits for Redis.
            log.warning("returned: %s: Redis does not answer: %s", claim.job.id, error)
            return Returned()
        except Exception as error:
            # As broad as can be: a bug met by one record must not take the others along.
            log.exception("failed: %s", claim.job.id)
            return await self._retry(claim, f"{type(error).__name__}: {error}")
        self.breaker.note(record_in(content).run, None)
        return outcome

    def _check(self, claim: Claim) -> Content:
        """Refuse a job that is not this stage's; return what it carries."""
        function, _ = claim.job.content
        expected = FUNCTIONS[self.stage.queue]
        if function != expected:
            message = f"the job names the function {function!r}, this queue runs {expected!r}"
            raise RejectError(Reason.MALFORMED, message)
        return read_content(claim, self.stage.queue)

    async def _reject(self, claim: Claim, error: RejectError) -> Outcome:
        if await self._is_run_failing(claim, error.reason, str(error)):
            return Returned()
        log.info("rejected: %s: %s: %s", claim.job.id, error.reason, error)
        return rejected(claim, self.stage.queue, error.reason, str(error))

    async def _retry(self, claim: Claim, message: str) -> Outcome:
        """Give the job back for another try, after a wait that lets a short outage pass."""
        if await self._is_run_failing(claim, TRANSIENT, message):
            return Returned()
        if claim.job.retry_count < self.daemon.max_retries:
            doubled_s = self.daemon.retry_wait_s * 2 ** min(claim.job.retry_count, MAX_DOUBLINGS)
            wait_s = min(doubled_s, MAX_RETRY_WAIT_S) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            log.warning(
                "retry %d in %.1f s: %s: %s",
                claim.job.retry_count + 1,
                wait_s,
                claim.job.id,
                message,
            )
            self.meter.num_waiting += 1
            try:
                await asyncio.sleep(wait_s)
            finally:
                self.meter.num_waiting -= 1
            return Retried()
        text = f"failed {claim.job.retry_count + 1} times, at last: {message}"
        return rejected(claim, self.stage.queue, Reason.RETRIES_EXHAUSTED, text)

    async def _is_run_failing(self, claim: Claim, kind: str, message: str) -> bool:
        """Whether this failure is one of many, so that it tells of the run, not of the record."""
        named = run_and_key(claim.job.id)
        if named is None:
            return False
        run, _ = named
        if run in self.claims.paused or run in self._pausing:
            # What failed before the run is resumed says nothing of what follows.
            self.breaker.forget(run)
            return True
        if not self.breaker.note(run, kind):
            return False
        await self._pause(claim, kind, message)
        return True

    async def _pause(self, claim: Claim, reason: str, message: str) -> None:
        named = run_and_key(claim.job.id)
        assert named is not None  # noqa: S101 - checked before it was executed
        run, _ = named
        self._pausing.add(run)
        why = Pause.now(reason, message, self.claims.worker)
        if await self.redis.call(self.claims.pause, run, why):
            log.error("paused: %s", why.advise(run))
        self._pausing.discard(run)
