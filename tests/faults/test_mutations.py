"""Each rule that keeps records from being lost or doubled has a fault test that needs it."""

import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.support import ROOT, clean_environment


class Guard(NamedTuple):
    """The test that must turn red, and what it then says."""

    test: str
    says: str


GUARDS = {
    "accept_any_execution": Guard(
        "test_stalls.py::test_a_worker_that_wakes_up_when_all_is_done_changes_nothing",
        r"left_over: \d+: .*rq:queue:refine",
    ),
    "enqueue_what_is_live": Guard(
        "test_producers.py::test_a_producer_that_comes_while_records_are_in_flight_enqueues_none_of_them_again",
        r"executed \d+ times",
    ),
    "append_known_keys": Guard(
        "test_stalls.py::test_a_refiner_that_wakes_up_in_the_middle_of_an_append_doubles_nothing",
        r"doubled: \d+: .*results\.jsonl",
    ),
    "watch_nothing": Guard(
        "test_producers.py::test_a_producer_that_sleeps_between_its_look_and_its_write_enqueues_nothing_again",
        r"executed \d+ times",
    ),
    "settle_before_fsync": Guard(
        "test_sink.py::test_a_kill_or_a_power_failure_around_each_step_of_an_append_costs_no_line[after-settle]",
        r"lost: \d+: ",
    ),
}


@pytest.mark.parametrize("mutation", GUARDS)
def test_without_its_rule_a_fault_test_turns_red(mutation: str) -> None:
    guard = GUARDS[mutation]

    done = run(guard.test, {"MUTATION": mutation})

    assert done.returncode == 1, done.stdout
    assert re.search(guard.says, done.stdout, re.DOTALL), done.stdout


def run(test: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one trial of a test, or all where their number is fixed, in a pytest of its own."""
    path = str(ROOT / "tests" / "faults" / test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment() | {"FAULTS": "0.001", "SEED": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
