"""SIGTERM, in time and beyond it, twice, during start: nothing in flight stays anywhere."""

import signal
import time

from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.plan import trials
from tests.faults.processes import Child
from tests.faults.world import World, entries, is_ready, wait_for


def at_work(world: World, daemons: list[Child]) -> list[Child]:
    """Return daemons that drain when asked to stop, with records in flight."""
    wait_for(lambda: all(map(is_ready, daemons)))
    wait_for(world.count_in_flight)
    return daemons


def in_time(world: World) -> list[Child]:
    """All that is in flight ends within the drain timeout."""
    world.script = Script(latency_s=(0.05, 0.1))
    return at_work(world, [world.worker("--drain-timeout-s", 30), world.refiner()])


def beyond(world: World) -> list[Child]:
    """Hardly anything does."""
    world.script = Script(latency_s=(0.02, 0.3))
    flags = ("--drain-timeout-s",)
    return at_work(world, [world.worker(*flags, 0.05), world.refiner(*flags, 0)])


def twice(world: World) -> list[Child]:
    """A second signal comes before the first has had its effect."""
    world.script = Script(latency_s=(0.02, 5))
    daemons = at_work(world, [world.worker(), world.refiner()])
    daemons[0].send(signal.SIGTERM)
    wait_for(lambda: "drain: SIGTERM" in daemons[0].words() or not daemons[0].is_alive())
    time.sleep(world.trial.random.uniform(0, 0.05))
    return daemons


def during_start(world: World) -> list[Child]:
    """The engine still loads."""
    world.script = Script(start_s=0.5)
    worker = world.worker(supervised=True)
    wait_for(lambda: "loading" in worker.words())
    time.sleep(world.trial.random.uniform(0, 0.6))
    return [worker]


WAYS = (in_time, beyond, twice, during_start)


def test_a_stop_leaves_nothing_in_flight_and_counts_no_crash(make_world: MakeWorld) -> None:
    for trial in trials("stop"):
        with make_world(trial, entries(60)) as world:
            assert world.producer().wait() == 0
            daemons = WAYS[trial.number % len(WAYS)](world)
            world.note_fault()
            time.sleep(trial.random.uniform(0, 0.05))

            world.stop(daemons)

            findings = world.ledger.check_quiet(world.connection)
            assert not findings, str(findings)
            assert world.count_in_flight() == 0
            assert count_crashes(world) == 0
            world.script = Script()
            world.finish()


def count_crashes(world: World) -> int:
    """Return the crashes counted for all jobs together."""
    jobs = world.connection.scan_iter("rq:job:*", count=10_000)
    return sum(int(world.connection.hget(job, "crash_count") or 0) for job in jobs)
