"""
The concurrent rq worker: claims many jobs, keeps many executions in flight, settles many at once.

rq's own workers run one job at a time, which would feed an engine a batch of one.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial

import redis

from contextvqa.errors import CrashError, RestartError
from contextvqa.logs.context import about, enter, note
from contextvqa.queueing.executor import Executor
from contextvqa.queueing.meter import Hold
from contextvqa.queueing.outcomes import Claim, Outcome, Returned, crashed
from contextvqa.queueing.redis_thread import RedisThread
from contextvqa.queueing.registration import RegisteredWorker
from contextvqa.queueing.stage import Stage
from contextvqa.settings import Daemon, Guards, Lifetime

log = logging.getLogger("contextvqa")

#: Five beats in the life of a worker's key, so that a slow one is no death.
BEAT_INTERVAL_S = 3.0
#: Wait between looks at an empty queue, in seconds: grows from the first to the second. The same
#: between looks at a full window, which the stage may widen at any time.
POLL_S = (0.02, 0.25)
#: Seconds beyond the drain timeout that Redis gets to answer when we stop.
REDIS_PATIENCE_S = 5.0
#: Most jobs claimed or settled in one transaction.
BATCH = 256


class ConcurrentWorker(RegisteredWorker):
    """One process, one stage, many executions in flight. All Redis calls run on one thread."""

    def __init__(  # noqa: PLR0913 - one parameter per group of options
        self,
        stage: Stage,
        connection: redis.Redis,
        daemon: Daemon,
        lifetime: Lifetime,
        *,
        guards: Guards | None = None,
        place: str = "",
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(stage.queue, connection, daemon, guards or Guards(), place)
        self.stage = stage
        self.daemon = daemon
        self.lifetime = lifetime
        self.pulse = pulse
        #: Claims from claim to settled, with the task that executes each.
        self.in_flight: dict[Claim, asyncio.Task[Outcome]] = {}
        self.num_settled = 0
        self._num_executing = 0
        self._settlements: list[tuple[Claim, Outcome]] = []
        self._fatal: BaseException | None = None
        self._is_forced = False
        self._was_holding = False
        self._wake = asyncio.Event()
        self._unsettled = asyncio.Event()
        self._stopping = asyncio.Event()
        self._redis = RedisThread()
        self._executor = Executor(stage, self.claims, self._redis, self.meter, daemon)

    async def serve(self) -> None:
        """
        Work until asked to stop, or with `burst` until the queue is empty.

        Raises:
            ContextVQAError: The stage cannot go on. What was in flight is back in the queue.

        """
        if self.lifetime.until_stdin_closes:
            threading.Thread(target=_stop_at_stdin_end, name="stdin", daemon=True).start()
        note(worker=self.name, stage=self.stage.queue)
        # Nothing to put back yet; but who has no right to is told so before an engine is loaded.
        await self._redis.call(self.recovery.put_back, self.claims.claimed_key)
        await self.stage.start(self.name)
        try:
            await self._startup()
            await self._main_loop()
        finally:
            try:
                await self._shutdown()
            finally:
                await self.stage.stop()
        if self._fatal:
            raise self._fatal

    def request_stop(self, signum: int, frame: object = None) -> None:  # noqa: ARG002
        """Stop claiming and drain; asked again, return what is in flight to the queue at once."""
        if not self._stopping.is_set():
            log.info("drain: %s, %d in flight", signal.Signals(signum).name, len(self.in_flight))
            self._stop_claiming()
            # A server that is gone must not keep us from stopping; others will reap our jobs.
            patience_s = self.daemon.drain_timeout_s + REDIS_PATIENCE_S
            asyncio.get_running_loop().call_later(patience_s, self._redis.give_up)
            return
        log.info("stop: second %s, not waiting", signal.Signals(signum).name)
        self._is_forced = True
        self._redis.give_up()
        self._cancel(list(self.in_flight))

    async def _startup(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.request_stop, signum)
        self.max_in_flight = self.stage.max_in_flight
        await self._redis.call(self.register)
        self.meter.hold = Hold.CLAIMING
        log.info("ready: worker %s on queue %s", self.name, self.stage.queue)

    async def _main_loop(self) -> None:
        side_tasks = [
            asyncio.create_task(self._beat_forever(), name="beat"),
            asyncio.create_task(self._settle_forever(), name="settle"),
            asyncio.create_task(self._look_after_stage(), name="look after stage"),
        ]
        claiming = asyncio.create_task(self._claim_until_stopped(), name="claim")
        # A side task never returns: the first to end is the claiming, or a side task that died.
        await asyncio.wait([claiming, *side_tasks], return_when=asyncio.FIRST_COMPLETED)
        if claiming.done():
            await self._drain()
        for task in (claiming, *side_tasks):
            task.cancel()
        ended = await asyncio.gather(claiming, *side_tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def _shutdown(self) -> None:
        self._cancel(list(self.in_flight))
        await asyncio.gather(*self.in_flight.values(), return_exceptions=True)
        await self._settle()
        await self._redis.call(self.deregister)
        self._redis.close()
        log.info("stopped: %d jobs settled", self.num_settled)

    async def _claim_until_stopped(self) -> None:
        poll_s = POLL_S[0]
        while not self._stopping.is_set():
            limit = self._free_slots()
            claimed = await self._claim(limit) if limit else []
            self.meter.hold = self._hold(has_room=limit > 0, has_claimed=bool(claimed))
            if claimed:
                poll_s = POLL_S[0]
                continue
            self._say_if_holding()
            if self.lifetime.burst and self.claims.is_queue_empty and not self.in_flight:
                break
            await self._wait_for_wake(poll_s)
            poll_s = min(poll_s * 2, POLL_S[1])

    async def _claim(self, limit: int) -> list[Claim]:
        self.meter.hold = Hold.CLAIMING
        began = time.monotonic()
        claimed = await self._redis.call(self.claims.claim, limit, len(self.in_flight))
        self.meter.note_claims(len(claimed), began)
        for claim in claimed:
            self._num_executing += 1
            execution = self._executor.execute(claim)
            # Its log lines say which record they are about, whoever writes them.
            context = copy_context()
            context.run(enter, claim.log_fields)
            task = asyncio.create_task(execution, name=f"execute {claim.job.id}", context=context)
            task.add_done_callback(partial(self._executed, claim), context=context)
            self.in_flight[claim] = task
        return claimed

    @property
    def _has_suspects(self) -> bool:
        return any(claim.is_suspect for claim in self.in_flight)

    def _free_slots(self) -> int:
        if self.is_suspended or self._has_suspects:
            return 0
        self.max_in_flight = self.stage.max_in_flight
        return max(0, min(self.max_in_flight - self._num_executing, BATCH))

    def _hold(self, *, has_room: bool, has_claimed: bool) -> Hold:
        """Return why there is not more in flight after this turn of the claiming."""
        if self.is_suspended:
            return Hold.SUSPENDED
        if not has_room:
            return Hold.SUSPECTS if self._has_suspects else Hold.WINDOW
        holds = {
            Hold.CLAIMING: has_claimed,
            Hold.REFINE_BACKLOG: self.claims.next_watermark.is_holding,
            Hold.PAUSED: self.claims.paused,
            Hold.QUEUE_EMPTY: self.claims.is_queue_empty,
        }
        # Else what was taken went back: suspects, which wait until nothing else is in flight.
        return next((hold for hold, is_so in holds.items() if is_so), Hold.SUSPECTS)

    def _say_if_holding(self) -> None:
        """Say when claiming stops because the next stage lags behind, and when it goes on."""
        is_holding = self.claims.next_watermark.is_holding
        if is_holding != self._was_holding:
            self._was_holding = is_holding
            log.info("holding back: the next stage lags behind" if is_holding else "going on")

    async def _wait_for_wake(self, timeout_s: float | None) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout_s)

    def _executed(self, claim: Claim, task: asyncio.Task[Outcome]) -> None:
        """Settle what was executed, however that ended; also when it was cancelled unbegun."""
        if task.cancelled():
            log.info("returned: %s", claim.job.id)
            outcome = self._unfinished(claim)
        elif error := task.exception():
            self._give_up(error)
            outcome = self._unfinished(claim)
        else:
            outcome = task.result()
        self._num_executing -= 1
        self._settlements.append((claim, outcome))
        self._unsettled.set()
        self._wake.set()

    def _give_up(self, error: BaseException) -> None:
        """Stop for good; what is in flight may still end, unless the stage is beyond that."""
        is_worse = isinstance(error, CrashError) and not isinstance(self._fatal, CrashError)
        if self._fatal is None or is_worse:
            log.error("stopping: %s", error)
            self._fatal = error
        self._stop_claiming()
        if isinstance(error, CrashError):
            self._cancel(list(self.in_flight))

    def _unfinished(self, claim: Claim) -> Outcome:
        """Return the outcome of a claim whose execution was cut short."""
        if isinstance(self._fatal, CrashError):
            return crashed(claim, self.stage.queue, self.daemon.max_crashes)
        return Returned()

    async def _settle_forever(self) -> None:
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            await self._settle()

    async def _settle(self) -> None:
        while self._settlements:
            batch = self._settlements[:BATCH]
            del self._settlements[:BATCH]
            began = time.monotonic()
            lost = await self._redis.call(self.claims.settle, batch)
            self.meter.note_settled(batch, lost, began)
            for claim in lost:
                with about(claim.log_fields):
                    log.warning("dropped: %s now belongs to another execution", claim.job.id)
            for claim, outcome in batch:
                self.in_flight.pop(claim, None)
                self.num_settled += claim not in lost and not isinstance(outcome, Returned)
            self._wake.set()

    async def _beat_forever(self) -> None:
        """Beat while the event loop turns: a process that is stuck must not look alive."""
        while True:
            await asyncio.sleep(BEAT_INTERVAL_S)
            self._cancel(await self._redis.call(self.beat))
            self._wake.set()

    async def _look_after_stage(self) -> None:
        """Apart from the beat, which waits for Redis: an engine may hang while that is away."""
        while True:
            self.pulse()
            try:
                self.stage.check()
            except RestartError as error:
                self._give_up(error)
            await asyncio.sleep(BEAT_INTERVAL_S)

    async def _drain(self) -> None:
        """Let what is in flight end within the drain timeout."""
        self.meter.hold = Hold.DRAINING
        deadline = time.monotonic() + self.daemon.drain_timeout_s
        while self.in_flight and time.monotonic() < deadline and not self._is_forced:
            await self._wait_for_wake(deadline - time.monotonic())

    def _stop_claiming(self) -> None:
        self._stopping.set()
        self._wake.set()

    def _cancel(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if claim in self.in_flight:
                self.in_flight[claim].cancel()


def _stop_at_stdin_end() -> None:
    """Stop like on SIGTERM when whoever started us closes our standard input, or dies."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
