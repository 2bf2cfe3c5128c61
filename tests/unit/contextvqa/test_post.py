"""How long the supervisor waits before it starts another worker process."""

import pytest

from contextvqa.errors import RestartError
from contextvqa.processes.post import RECYCLE_S, restart_wait_s


def waits_s(*, code: int = 1, ready_s: float = 0.0, num_vain_starts: int = 0) -> list[float]:
    return [
        restart_wait_s(code=code, ready_s=ready_s, num_vain_starts=num_vain_starts)
        for _ in range(200)
    ]


@pytest.mark.parametrize(
    ("num_vain_starts", "wait_s"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (99, 64.0)]
)
def test_the_wait_doubles_with_each_failed_start_give_or_take_half(
    num_vain_starts: int, wait_s: float
) -> None:
    waits = waits_s(num_vain_starts=num_vain_starts)

    assert 0.5 * wait_s <= min(waits) < 0.7 * wait_s
    assert 1.3 * wait_s < max(waits) <= 1.5 * wait_s


def test_a_worker_that_has_worked_and_wants_to_be_restarted_is_at_once() -> None:
    assert set(waits_s(code=RestartError.exit_code, ready_s=RECYCLE_S)) == {0.0}


def test_a_memory_limit_that_is_met_right_after_each_start_is_no_tight_loop() -> None:
    assert min(waits_s(code=RestartError.exit_code, ready_s=RECYCLE_S - 1)) >= 0.5
