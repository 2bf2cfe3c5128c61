"""What tells that a worker must be started anew."""

import os
import subprocess
import sys

import pytest

from contextvqa.errors import CrashError, RestartError
from contextvqa.processes.sessions import memory_bytes
from worker.watch import MAX_GAP_S, MEASURE_INTERVAL_S, MemoryWatch, TokenWatch


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def look(
    watch: TokenWatch, clock: Clock, *, num_running: int, num_tokens: int, after_s: float = 3.0
) -> float:
    clock.now_s += after_s
    return watch.stalled_s(num_running=num_running, num_tokens=num_tokens)


def test_requests_that_get_no_token_are_a_stall_that_grows(clock: Clock) -> None:
    watch = TokenWatch(clock)

    assert look(watch, clock, num_running=2, num_tokens=10) == 0
    assert look(watch, clock, num_running=2, num_tokens=10) == 3
    assert look(watch, clock, num_running=37, num_tokens=10) == 6


def test_one_token_of_any_request_ends_a_stall(clock: Clock) -> None:
    watch = TokenWatch(clock)
    look(watch, clock, num_running=2, num_tokens=10)
    look(watch, clock, num_running=2, num_tokens=10)

    assert look(watch, clock, num_running=2, num_tokens=11) == 0
    assert look(watch, clock, num_running=2, num_tokens=11) == 3


def test_an_engine_without_requests_is_idle_and_not_stalled(clock: Clock) -> None:
    watch = TokenWatch(clock)

    for _ in range(100):
        assert look(watch, clock, num_running=0, num_tokens=10) == 0
    assert look(watch, clock, num_running=1, num_tokens=10) == 3


def test_requests_that_are_aborted_do_not_hide_a_stall(clock: Clock) -> None:
    watch = TokenWatch(clock)
    look(watch, clock, num_running=3, num_tokens=30)

    assert look(watch, clock, num_running=2, num_tokens=20) == 3
    assert look(watch, clock, num_running=2, num_tokens=20) == 6


def test_time_in_which_we_were_frozen_ourselves_hardly_counts(clock: Clock) -> None:
    watch = TokenWatch(clock)
    look(watch, clock, num_running=3, num_tokens=30)

    assert look(watch, clock, num_running=3, num_tokens=30, after_s=9999) == MAX_GAP_S


def test_memory_above_the_limit_asks_for_a_restart_that_is_no_crash(clock: Clock) -> None:
    watch = MemoryWatch(12.0, lambda: 12_300_000_000, clock)

    with pytest.raises(
        RestartError, match=r"^memory 12\.3 GB is above --max-memory-gb 12\.0$"
    ) as e:
        watch.check()
    assert not isinstance(e.value, CrashError)


def test_memory_is_measured_every_ten_seconds_and_only_with_a_limit(clock: Clock) -> None:
    measured_at: list[float] = []

    def measure() -> int:
        measured_at.append(clock.now_s)
        return 0

    limited, unlimited = MemoryWatch(1.0, measure, clock), MemoryWatch(None, measure, clock)
    for _ in range(10):
        limited.check()
        unlimited.check()
        clock.now_s += MEASURE_INTERVAL_S / 4

    assert [at - measured_at[0] for at in measured_at] == [0, 10, 20]


def test_the_memory_of_a_session_counts_all_its_processes_and_no_shared_pages() -> None:
    hold = "import sys; held = bytes(range(250)) * 400_000; print(len(held), flush=True); {}"
    inner = hold.format("sys.stdin.read()")
    outer = hold.format(f"import subprocess; subprocess.run([sys.executable, '-c', {inner!r}])")
    with subprocess.Popen(
        [sys.executable, "-c", outer],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"100000000\n"] * 2

        memory = memory_bytes(os.getsid(process.pid))

        assert process.stdin is not None
        process.stdin.close()
    assert 200_000_000 < memory < 260_000_000
