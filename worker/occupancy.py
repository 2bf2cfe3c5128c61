"""What the slots of an engine do: how much of their time is used, and what the others wait for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from contextvqa.queueing.meter import Hold, Meter
from worker.engine import Engine
from worker.meter import GenerateMeter

#: Seconds between two looks: short beside what rates are taken over, and no load.
LOOK_INTERVAL_S = 0.1
#: Seconds without any token, while requests run, from which on their slots count as stalled.
STALLED_AFTER_S = 10.0


class Use(StrEnum):
    """What a slot does, or waits for where its worker has a record for it; else its Hold says."""

    #: It runs a request.
    BUSY = "busy"
    #: It has a request, and for 10 s none of the engine's has got a token.
    STALLED = "stalled"
    #: Its record's prompt and images are being turned into the engine's input.
    RENDERING = "rendering"
    #: Its record's images are being decoded, or wait for a decoder.
    DECODING = "decoding"
    #: Its record has failed, and waits until it is tried again.
    RETRY_WAIT = "retry_wait"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Where the records of a worker are at one moment."""

    #: What its engine runs at once; 0 while there is none.
    num_slots: int
    #: Requests that the engine has, those that wait for a slot included.
    num_in_engine: int
    num_rendering: int
    num_decoding: int
    num_waiting: int
    #: Seconds since the engine's last token.
    stalled_s: float
    #: Why the worker has not more records.
    hold: Hold


class Occupancy(Collector):
    """Adds up what the slots do, from looks that are a tenth of a second apart."""

    def __init__(
        self, look: Callable[[], Look], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._looked_at = clock()
        self._num_slots = 0
        #: Of all slots together, by use or hold.
        self._seconds: dict[str, float] = dict.fromkeys((*Use, *Hold), 0.0)

    async def look_forever(self) -> None:
        """Look again and again, on the event loop that moves the records."""
        while True:
            self.note()
            await asyncio.sleep(LOOK_INTERVAL_S)

    def note(self) -> None:
        """Look, and count that it has been so since the last look."""
        now, look = self._clock(), self._look()
        elapsed_s, self._looked_at = now - self._looked_at, now
        self._num_slots = look.num_slots
        for use, number in _uses(look).items():
            self._seconds[use] += number * elapsed_s

    def collect(self) -> Iterator[Metric]:
        """Yield all of it."""
        yield GaugeMetricFamily(
            "contextvqa_slots", "Requests that the engine runs at once.", self._num_slots
        )
        seconds = CounterMetricFamily(
            "contextvqa_slot_seconds",
            "Time of the engine's slots by what they do, or wait for.",
            labels=("state",),
        )
        for use, total_s in self._seconds.items():
            seconds.add_metric((use,), total_s)
        yield seconds


def look_at(engine: Engine, stage: GenerateMeter, daemon: Meter) -> Look:
    """Return where the records of a worker are now. To be called on its event loop."""
    return Look(
        num_slots=engine.num_at_once,
        num_in_engine=engine.num_running,
        num_rendering=max(0, stage.num_asked - engine.num_running),
        num_decoding=stage.num_decoding,
        num_waiting=daemon.num_waiting,
        stalled_s=engine.stalled_s,
        hold=daemon.hold,
    )


def _uses(look: Look) -> dict[str, int]:
    """Say of each use of how many slots it is true: an idle one waits for the record nearest to it."""
    is_stalled = look.stalled_s > STALLED_AFTER_S
    nearest_first = {
        Use.STALLED if is_stalled else Use.BUSY: look.num_in_engine,
        Use.RENDERING: look.num_rendering,
        Use.DECODING: look.num_decoding,
        Use.RETRY_WAIT: look.num_waiting,
        look.hold: look.num_slots,
    }
    uses: dict[str, int] = {}
    num_left = look.num_slots
    for use, number in nearest_first.items():
        uses[use] = min(number, num_left)
        num_left -= uses[use]
    return uses
