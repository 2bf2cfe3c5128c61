"""Every single thing that a process sends to Redis: killed before it, after it, its reply lost."""

import itertools
import signal
from collections.abc import Callable

import pytest

from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.injection import (
    count_sends,
    kill_at_send,
    lose_reply_at_exec,
    reset_at_exec,
)
from tests.faults.phases import NUM_RECORDS, PHASES, Phase
from tests.faults.plan import trials
from tests.faults.processes import Patch
from tests.faults.tally import Tally
from tests.faults.world import World, entries

#: Beats go on for as long as the phase does, and repeat themselves: so many sends hold all kinds.
MAX_SENDS = 60
MAX_EXECS = 12


def count(make_world: MakeWorld, phase: Phase, *, exec_only: bool = False) -> int:
    """Return how many points a phase has, from a run without a fault."""
    tally = Tally()
    (trial,) = trials("sends", 1)
    with make_world(trial, entries(NUM_RECORDS)) as world:
        assert phase(world, [count_sends(tally, exec_only=exec_only)]).wait() == 0
    return min(tally.value, MAX_EXECS if exec_only else MAX_SENDS)


def recover(world: World) -> None:
    """Finish the run with processes that meet no fault."""
    world.script = Script()
    world.finish()


@pytest.mark.parametrize("name", PHASES)
def test_a_kill_before_and_after_each_send_leaves_nothing(make_world: MakeWorld, name: str) -> None:
    num_sends = count(make_world, PHASES[name])
    assert num_sends > 5
    points = list(itertools.product(range(num_sends), (False, True)))
    num_trials = num_killed = 0
    for trial in trials("sends", len(points)):
        number, after = points[trial.number % len(points)]
        with make_world(trial, entries(NUM_RECORDS)) as world:
            code = PHASES[name](world, [kill_at_send(number, after=after)]).wait()
            # The last of them are looks at a queue that is empty: there may be one less of them.
            assert code in (0, -signal.SIGKILL)
            num_trials += 1
            num_killed += code == -signal.SIGKILL
            world.note_fault()
            recover(world)
    assert num_killed >= num_trials // 2


@pytest.mark.parametrize("fault", [lose_reply_at_exec, reset_at_exec])
@pytest.mark.parametrize("name", PHASES)
def test_a_lost_reply_or_a_reset_at_each_transaction_changes_nothing(
    make_world: MakeWorld, name: str, fault: Callable[[int, Tally], Patch]
) -> None:
    num_execs = count(make_world, PHASES[name], exec_only=True)
    assert num_execs
    for trial in trials("replies", 3 * num_execs):
        number, tally = trial.number % num_execs, Tally()
        with make_world(trial, entries(NUM_RECORDS)) as world:
            child = PHASES[name](world, [fault(number, tally)])
            # The producer may give up, and say so; a daemon must not.
            assert child.wait() in ((0, 3) if name == "enqueue" else (0,)), child.words()
            world.note_fault()
            recover(world)
