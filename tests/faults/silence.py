"""Daemons that say nothing any more, and how soon the others notice."""

import re
from collections.abc import Sequence
from unittest import mock

from contextvqa.queueing import reaper
from contextvqa.queueing.queues import GENERATE, REFINE, claimants_key, worker_key
from tests.faults.processes import Child, Patch
from tests.faults.world import World, wait_for

#: Queue of each kind of daemon.
QUEUES = {"worker": GENERATE, "refiner": REFINE}


def quick_clocks() -> Sequence[Patch]:
    """Return patches with which a key that has gone is believed after half a second, not ten."""
    return [
        mock.patch.object(reaper, "STEADY_S", 0.5).start,
        mock.patch.object(reaper, "REGULAR_S", 0.5).start,
    ]


def expire(world: World, child: Child) -> None:
    """Let the key of a silent daemon expire now, and return when others have noticed."""
    world.connection.delete(worker_key(name_of(child)))
    wait_until_reaped(world, child)


def wait_until_reaped(world: World, child: Child) -> None:
    """Return when others have taken over what a daemon held."""
    key = claimants_key(QUEUES[child.kind])
    wait_for(lambda: not world.connection.hexists(key, name_of(child)))


def name_of(child: Child) -> str:
    """Return the name under which a daemon has registered."""
    found = re.search(r"ready: worker (\S+) on", child.log.read_text())
    assert found is not None, child.words()
    return found[1]
