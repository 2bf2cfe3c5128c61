"""Records that take their process, their engine or their time down: no other record pays."""

from unittest import mock

import pytest

from contextvqa.errors import Reason
from contextvqa.processes import post, supervisor
from tests.faults.conftest import MakeWorld
from tests.faults.engine import BLOCK, DIE, FAIL, HANG, KILL, Script
from tests.faults.ledger import Entry
from tests.faults.plan import Trial, trials
from tests.faults.processes import Patch
from tests.faults.world import World, entries, entry

NUM_RECORDS = 256
#: Poisonous records among them, in turn.
NUM_POISONOUS = (1, 3)
#: A stuck engine, and a stuck process, are given up after so many seconds.
STALL_S = 2.0


def records(trial: Trial, word: str, reason: Reason) -> list[Entry]:
    """Return good records with poisonous ones anywhere between them."""
    found = entries(NUM_RECORDS)
    for number in range(NUM_POISONOUS[trial.number % 2]):
        poison = entry(f"poison {number}", prompt=f"Write. {word}", reasons=[reason])
        found.insert(trial.random.randrange(len(found)), poison)
    return found


def hurry() -> list[Patch]:
    """Return patches with which a supervisor waits no longer than a test can."""
    return [
        mock.patch.object(post, "RESTART_WAIT_S", 0.05).start,
        mock.patch.object(supervisor, "MIN_STALL_S", STALL_S).start,
    ]


def work(world: World, *, supervised: bool) -> None:
    """Run all to the end, and look at what the innocent went through."""
    world.script = Script(latency_s=(0.001, 0.01))
    world.num_faults = sum(not entry.is_good for entry in world.ledger.entries.values())
    world.worker_flags = ("--stall-timeout-s", STALL_S)
    world.finish(patches=hurry(), supervised=supervised)


@pytest.mark.parametrize(
    ("fault", "word", "reason"),
    [
        ("poison-kill", KILL, Reason.CRASHED),
        ("poison-engine", DIE, Reason.CRASHED),
        ("poison-error", FAIL, Reason.RETRIES_EXHAUSTED),
    ],
)
def test_poison_costs_itself_and_no_other_record(
    make_world: MakeWorld, fault: str, word: str, reason: Reason
) -> None:
    for trial in trials(fault):
        with make_world(trial, records(trial, word, reason)) as world:
            work(world, supervised=trial.number % 2 == 0)


def test_a_record_that_never_ends_costs_itself_and_no_other(make_world: MakeWorld) -> None:
    for trial in trials("poison-hang"):
        # A request that hangs is seen by its worker, an event loop that hangs by the supervisor.
        word = (HANG, BLOCK)[trial.number % 2]
        with make_world(trial, records(trial, word, Reason.CRASHED)) as world:
            work(world, supervised=True)
