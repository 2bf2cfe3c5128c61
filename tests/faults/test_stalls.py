"""SIGSTOP past the lease: the others take over, and the sleeper wakes up and changes nothing."""

import re
import signal
import time
from collections.abc import Sequence
from unittest import mock

from contextvqa import daemon, reaper
from contextvqa.queues import GENERATE, REFINE, claimants_key, worker_key
from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.injection import stop_before_write
from tests.faults.plan import Trial, trials
from tests.faults.processes import Child, Patch
from tests.faults.world import World, entries, wait_for

#: Queue of each kind of daemon.
QUEUES = {"worker": GENERATE, "refiner": REFINE}


def quick_clocks() -> Sequence[Patch]:
    """Return patches with which the silent count as dead after a second and not after 25."""
    return [
        mock.patch.object(daemon, "WORKER_TTL_S", 1).start,
        mock.patch.object(reaper, "STEADY_S", 0.5).start,
        mock.patch.object(reaper, "REGULAR_S", 0.5).start,
    ]


def clocks_of(trial: Trial) -> Sequence[Patch]:
    """Return the patches of a trial: one has the true clocks."""
    return quick_clocks() if trial.number else []


def test_a_daemon_that_was_stopped_past_its_lease_doubles_nothing(make_world: MakeWorld) -> None:
    for trial in trials("stalls"):
        clocks = clocks_of(trial)
        with make_world(trial, entries(60)) as world:
            # Given a worker and a refiner at work
            world.script = Script(latency_s=(0.01, 0.2))
            assert world.producer().wait() == 0
            daemons = {
                "worker": world.worker(patches=clocks),
                "refiner": world.refiner(patches=clocks),
            }
            wait_for(lambda world=world: world.count_in_flight())
            time.sleep(trial.random.uniform(0, 0.1))

            # When one is stopped for so long that the next one takes its records over
            sleeper = daemons.pop(("worker", "refiner")[trial.number % 2])
            world.note_fault()
            sleeper.send(signal.SIGSTOP)
            start = {"worker": world.worker, "refiner": world.refiner}[sleeper.kind]
            daemons["other"] = start(patches=clocks)
            wait_until_reaped(world, sleeper)
            sleeper.send(signal.SIGCONT)

            # Then all of them together finish
            world.finish([sleeper, *daemons.values()])


def test_a_refiner_that_wakes_up_in_the_middle_of_an_append_doubles_nothing(
    make_world: MakeWorld,
) -> None:
    for trial in trials("stalls"):
        with make_world(trial, entries(20)) as world:
            # Given a refiner that is stopped with its lines in its hands
            assert world.producer().wait() == 0
            assert world.worker("--burst").wait() == 0
            sleeper = world.refiner(patches=[*quick_clocks(), stop_before_write()])
            wait_for(lambda sleeper=sleeper: sleeper.is_stopped())
            world.note_fault()

            # When another one has written them
            other = world.refiner(patches=quick_clocks())
            wait_until_reaped(world, sleeper)
            wait_for(world.is_complete)
            sleeper.send(signal.SIGCONT)

            # Then it finds them written
            world.finish([sleeper, other])


def wait_until_reaped(world: World, child: Child) -> None:
    """Return when others have taken over what a daemon held."""
    found = re.search(r"ready: worker (\S+) on", child.log.read_text())
    if found is not None:
        key = claimants_key(QUEUES[child.kind])
        # However long the others need to notice, the key must not outlive its promise.
        assert world.connection.ttl(worker_key(found[1])) <= daemon.WORKER_TTL_S
        wait_for(lambda: not world.connection.hexists(key, found[1]))
