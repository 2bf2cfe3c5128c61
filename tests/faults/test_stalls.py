"""SIGSTOP past the lease: the others take over, and the sleeper wakes up and changes nothing."""

import signal
import time
from collections.abc import Sequence

from contextvqa.queueing import claims
from contextvqa.queueing.queues import worker_key
from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.injection import stop_before_write
from tests.faults.plan import Trial, trials
from tests.faults.processes import Patch
from tests.faults.silence import expire, name_of, quick_clocks, wait_until_reaped
from tests.faults.world import entries, is_ready, wait_for


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
            wait_for(lambda alive=daemons: all(map(is_ready, alive.values())))
            time.sleep(trial.random.uniform(0, 0.1))

            # When one is stopped for so long that the next one takes its records over
            sleeper = daemons.pop(("worker", "refiner")[trial.number % 2])
            world.note_fault()
            sleeper.send(signal.SIGSTOP)
            start = {"worker": world.worker, "refiner": world.refiner}[sleeper.kind]
            daemons["other"] = start(patches=clocks)
            if trial.number:
                expire(world, sleeper)
            else:
                # However long the others need to notice, the key must not outlive its promise.
                ttl_s = world.connection.ttl(worker_key(name_of(sleeper)))
                assert ttl_s <= claims.WORKER_TTL_S, f"a worker's key lives {ttl_s} s"
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

            # When others have written them, and what needs another attempt besides
            others = [world.refiner(patches=quick_clocks()), world.worker()]
            expire(world, sleeper)
            wait_for(world.is_complete)
            sleeper.send(signal.SIGCONT)

            # Then it finds them written
            world.finish([sleeper, *others])


def test_a_worker_that_wakes_up_when_all_is_done_changes_nothing(make_world: MakeWorld) -> None:
    for trial in trials("stalls"):
        with make_world(trial, entries(20)) as world:
            # Given a worker that is stopped with records in flight
            assert world.producer().wait() == 0
            world.script = Script(latency_s=(0.3, 0.6))
            sleeper = world.worker(patches=quick_clocks())
            wait_for(lambda world=world: world.count_in_flight() == 20)
            world.note_fault()
            sleeper.send(signal.SIGSTOP)

            # When others have done all of them and gone
            world.script = Script()
            others = [world.worker(patches=quick_clocks()), world.refiner()]
            expire(world, sleeper)
            wait_for(world.is_complete)
            world.stop(others)

            # Then its results are late, and dropped
            sleeper.send(signal.SIGCONT)
            world.stop([sleeper])
            world.settle_accounts()
