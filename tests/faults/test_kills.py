"""SIGKILL at random moments: of one process, or of all, again and again."""

import signal
import time

from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.injection import kill_at_send
from tests.faults.plan import trials
from tests.faults.processes import Child
from tests.faults.world import World, entries, wait_for

#: Kills in one trial.
NUM_KILLS = 3
#: A record may be in flight at each of these kills, and none of them is its fault.
PATIENT = ("--max-crashes", 100)


def test_kills_at_random_moments_lose_double_and_leave_nothing(make_world: MakeWorld) -> None:
    for trial in trials("kills"):
        with make_world(trial, entries(90)) as world:
            begin = {
                "producer": world.producer,
                "worker": lambda world=world: world.worker(*PATIENT),
                "refiner": lambda world=world: world.refiner(*PATIENT),
            }
            alive = {name: start() for name, start in begin.items()}
            for _ in range(NUM_KILLS):
                wait_for_a_bad_moment(world, alive)
                time.sleep(trial.random.uniform(0, 0.06))
                victims = trial.random.choice([*([name] for name in alive), list(alive)])
                world.note_fault()
                for name in victims:
                    alive[name].kill()
                alive |= {name: begin[name]() for name in victims}
            alive.pop("producer").wait()
            world.finish(alive.values(), *PATIENT)


def test_a_kill_during_the_recovery_from_a_kill_changes_nothing(make_world: MakeWorld) -> None:
    for trial in trials("recovery"):
        with make_world(trial, entries(30)) as world:
            # Given a worker and a refiner that are killed with records in flight
            assert world.producer().wait() == 0
            world.script = Script(latency_s=(0, 0.05))
            daemons = [world.worker(*PATIENT), world.refiner(*PATIENT)]
            wait_for(lambda world=world: world.count_in_flight())
            world.note_fault()
            for child in daemons:
                child.kill()

            # When the next ones are killed after the first, second, ... thing that they send
            after = trial.random.random() < 0.5
            point = trial.random.randrange(5, 40)
            fault = kill_at_send(point, after=after)
            for child in (
                world.worker("--burst", *PATIENT, patches=[fault]),
                world.refiner("--burst", *PATIENT, patches=[fault]),
            ):
                assert child.wait() in (0, -signal.SIGKILL)
                world.note_fault()

            # Then the ones after them finish
            world.finish([], *PATIENT)


def wait_for_a_bad_moment(world: World, alive: dict[str, Child]) -> None:
    """Return while records are in flight, or when there will be no more of them."""
    wait_for(
        lambda: (
            world.count_in_flight() or (not alive["producer"].is_alive() and world.is_complete())
        )
    )
