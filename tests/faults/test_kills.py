"""SIGKILL at random moments: of one process, or of all, again and again."""

import time

from tests.faults.conftest import MakeWorld
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


def wait_for_a_bad_moment(world: World, alive: dict[str, Child]) -> None:
    """Return while records are in flight, or when there will be no more of them."""
    wait_for(
        lambda: (
            world.count_in_flight() or (not alive["producer"].is_alive() and world.is_complete())
        )
    )
