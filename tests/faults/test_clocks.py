"""Clocks that disagree by an hour, and stock rq looking and cleaning up all the time."""

import time
from unittest import mock

import time_machine
from rq.cli import main as rq_main

from contextvqa.queueing import reaper
from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.plan import trials
from tests.faults.processes import Child, Patch, fork
from tests.faults.silence import expire, quick_clocks
from tests.faults.world import World, entries, is_ready, wait_for

HOUR_S = 3600.0
NUM_LOOKERS = 5


def shift(seconds: float) -> Patch:
    """Set the clock of a child, which goes on from there."""

    def patch() -> None:
        time_machine.travel(time.time() + seconds, tick=True).start()

    return patch


def elsewhere() -> Patch:
    """Let a child be on another host, which cannot look at our processes."""
    return mock.patch.object(reaper, "host_identity", return_value="elsewhere/boot/pid").start


def test_a_host_whose_clock_is_an_hour_off_takes_nothing_away_and_loses_nothing(
    make_world: MakeWorld,
) -> None:
    for trial in trials("clocks"):
        offset_s = (HOUR_S, -HOUR_S)[trial.number % 2]
        with make_world(trial, entries(80)) as world:
            # Given two workers and two refiners, of which one of each has another time
            world.script = Script(latency_s=(0.02, 0.2))
            off = [shift(offset_s), elsewhere(), *quick_clocks()]
            assert world.producer().wait() == 0
            here, there = world.worker(patches=quick_clocks()), world.worker(patches=off)
            refiners = [world.refiner(patches=quick_clocks()), world.refiner(patches=off)]

            # When one of them is killed
            wait_for(lambda world=world: world.count_in_flight())
            wait_for(lambda here=here, there=there: is_ready(here) and is_ready(there))
            time.sleep(trial.random.uniform(0, 0.3))
            world.note_fault()
            victim, other = trial.random.sample([here, there], 2)
            victim.kill()
            expire(world, victim)

            # Then the others finish, and nothing was rejected for a crash that was none
            world.finish([other, *refiners])


def test_rq_info_in_a_loop_neither_takes_nor_repeats_a_record(make_world: MakeWorld) -> None:
    for trial in trials("clocks"):
        with make_world(trial, entries(80)) as world:
            world.script = Script(latency_s=(0.02, 0.2))
            assert world.producer().wait() == 0
            daemons = [world.worker(), world.refiner()]
            lookers = [look(world, number) for number in range(NUM_LOOKERS)]
            wait_for(lambda world=world: world.count_in_flight())
            world.note_fault()
            daemons[0].kill()
            daemons[0] = world.worker()
            wait_for(world.is_complete)
            for looker in lookers:
                assert looker.is_alive(), looker.words()
                looker.kill()
            world.finish(daemons)


def look(world: World, number: int) -> Child:
    """Run `rq info` again and again."""
    arguments = ["info", "-u", world.url, "-S", "json", "--raw"]

    def run() -> int:
        while True:
            rq_main.main(arguments, standalone_mode=False)

    child = fork(f"rq {number}", run, world.directory / f"rq-{number}.log")
    world.children.append(child)
    return child
