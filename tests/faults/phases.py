"""The phases of a run in which one process meets a fault at an exact point."""

from collections.abc import Callable, Iterable
from unittest import mock

from contextvqa.queueing import daemon
from tests.faults.engine import Script
from tests.faults.processes import Child, Patch
from tests.faults.world import World, wait_for

#: Records in a phase. Few: each point of each phase is a trial.
NUM_RECORDS = 6

Phase = Callable[[World, Iterable[Patch]], Child]


def enqueue(world: World, patches: Iterable[Patch]) -> Child:
    """Enqueue an input."""
    return world.producer(patches=patches)


def generate(world: World, patches: Iterable[Patch]) -> Child:
    """Claim, generate, settle and hand over, from start to end."""
    assert world.producer().wait() == 0
    return world.worker("--burst", patches=patches)


def refine(world: World, patches: Iterable[Patch]) -> Child:
    """Claim, append and settle, from start to end."""
    assert world.producer().wait() == 0
    assert world.worker("--burst").wait() == 0
    return world.refiner("--burst", patches=patches)


def beat(world: World, patches: Iterable[Patch]) -> Child:
    """Beat all the time while records are in flight."""
    assert world.producer().wait() == 0
    world.script = Script(latency_s=(0.1, 0.1))
    often = mock.patch.object(daemon, "BEAT_INTERVAL_S", 0.005).start
    return world.worker("--burst", patches=(*patches, often))


def reap(world: World, patches: Iterable[Patch]) -> Child:
    """Take back what a killed worker had in flight, and do it."""
    assert world.producer().wait() == 0
    world.script = Script(latency_s=(3600, 3600))
    victim = world.worker()
    wait_for(lambda: world.count_in_flight() == NUM_RECORDS)
    victim.kill()
    world.script = Script()
    return world.worker("--burst", patches=patches)


def hand_back(world: World, patches: Iterable[Patch]) -> Child:
    """Stop with records in flight that do not end in time."""
    assert world.producer().wait() == 0
    world.script = Script(latency_s=(3600, 3600), stop_after=NUM_RECORDS)
    return world.worker("--drain-timeout-s", 0, patches=patches)


PHASES: dict[str, Phase] = {
    phase.__name__: phase for phase in (enqueue, generate, refine, beat, reap, hand_back)
}
