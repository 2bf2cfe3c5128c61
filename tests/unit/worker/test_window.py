"""The window follows what the engine and the way to it are measured to take."""

from worker.window import NUM_SAMPLES, Window


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def size(window: Window, num_slots: int) -> int:
    """Return the size for an engine that runs as many as it has slots."""
    return window.size(num_at_once=num_slots, num_slots=num_slots)


def filled(*, num_slots: int, records_per_s: float, way_s: float, fixed: int | None = None) -> int:
    """Return the size after a second of arrivals at a steady pace."""
    clock = Clock()
    window = Window(fixed, clock)
    for _ in range(2 * NUM_SAMPLES):
        clock.now_s += 1 / records_per_s
        window.note_arrival(way_s)
    return size(window, num_slots)


def test_before_anything_is_known_it_is_the_slots_and_a_quarter() -> None:
    assert size(Window(None), 256) == 320
    assert size(Window(None), 1) == 2


def test_a_short_way_leaves_it_there() -> None:
    assert filled(num_slots=256, records_per_s=20, way_s=0.05) == 320


def test_a_long_way_to_a_fast_engine_widens_it_by_twice_what_is_on_the_way() -> None:
    assert 256 + 195 <= filled(num_slots=256, records_per_s=1000, way_s=0.1) <= 256 + 205


def test_images_that_take_for_ever_to_decode_do_not_widen_it_without_end() -> None:
    assert filled(num_slots=64, records_per_s=10, way_s=60.0) == 128


def test_it_narrows_again_when_the_way_is_short_again() -> None:
    clock = Clock()
    window = Window(None, clock)
    for way_s in [0.1] * NUM_SAMPLES + [0.001] * NUM_SAMPLES:
        clock.now_s += 0.001
        window.note_arrival(way_s)

    assert size(window, 256) == 320


def test_what_somebody_asks_for_is_what_they_get() -> None:
    assert filled(num_slots=256, records_per_s=1000, way_s=0.1, fixed=7) == 7


def test_arrivals_all_at_once_are_no_division_by_zero() -> None:
    window = Window(None, Clock())
    for _ in range(NUM_SAMPLES):
        window.note_arrival(0.1)

    assert size(window, 16) == 32
