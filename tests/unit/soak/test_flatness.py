"""What counts as flat memory, and what as growth."""

import pytest

from tests.soak.flatness import judge
from tests.soak.processes import Memory
from tests.soak.watch import Sample

MB = 1_000_000
DURATION_S = 300.0


def samples(sizes_mb: list[float], *, killed_at: int | None = None) -> list[Sample]:
    """Return the samples of a refiner with these sizes; of its next life from `killed_at` on."""
    return [
        Sample(
            at_s=DURATION_S / len(sizes_mb) * number,
            num_results=0,
            memory=(
                Memory(
                    role="refiner 1",
                    pid=1 if killed_at is None or number < killed_at else 2,
                    num_bytes=round(size_mb * MB),
                ),
            ),
            server=None,
        )
        for number, size_mb in enumerate(sizes_mb)
    ]


@pytest.mark.parametrize(
    ("sizes_mb", "is_flat"),
    [
        ([100.0] * 30, True),
        # It warms up, and stays.
        ([20.0 + 8 * number for number in range(10)] + [100.0] * 20, True),
        ([100.0 + (number % 3) for number in range(30)], True),
        # A tenth of it every ten minutes.
        ([100.0 + number for number in range(30)], False),
        # A step up, late.
        ([100.0] * 24 + [120.0] * 6, False),
    ],
)
def test_memory_that_grows_after_its_warm_up_is_not_flat(
    sizes_mb: list[float], is_flat: bool
) -> None:
    (verdict,) = judge(samples(sizes_mb), DURATION_S)

    assert verdict.is_flat is is_flat


def test_the_longest_life_is_judged_and_not_the_step_to_the_next() -> None:
    (verdict,) = judge(samples([50.0] * 10 + [100.0] * 20, killed_at=10), DURATION_S)

    assert (verdict.middle, verdict.last) == (100, 100)


def test_lives_that_were_all_short_say_nothing() -> None:
    assert judge(samples([50.0] * 12, killed_at=6)[:8], DURATION_S) == []
