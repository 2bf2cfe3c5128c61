"""What an engine is known to run at once, and the window that follows it."""

import pytest

from worker.capacity import PERIOD_S, Capacity
from worker.window import Window

NUM_SLOTS = 256
STEP_S = 0.05
#: Seconds that a request takes at most; the shortest takes a third of it.
REQUEST_S = 6.0


class Simulation:
    """
    An engine with room for so many requests, and a worker whose queue is never empty.

    Args:
        way_s: From the claim of a record to the engine.
        per_s: Most records that get through that way.

    """

    def __init__(self, room: int, *, num_sure: int = 4, way_s: float = 0.1, per_s: int = 1000):
        self.room = room
        self.num_sure = num_sure
        self.way_s = way_s
        self.per_s = per_s
        self.now_s = 0.0
        self.capacity = Capacity(lambda: self.now_s)
        self.window = Window(None, lambda: self.now_s)
        #: When each record was claimed that is on its way, and when each running request ends.
        self.on_the_way: list[float] = []
        self.running: list[float] = []
        self.num_waiting = 0
        self.sizes: list[int] = []
        self.num_begun = 0

    def run(self, seconds: float) -> None:
        """Let that much time pass; note the sizes of the window meanwhile."""
        self.sizes = []
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            self._arrive()
            self._step()
            self._claim()

    def _arrive(self) -> None:
        for _ in range(round(self.per_s * STEP_S)):
            if self.on_the_way and self.now_s - self.on_the_way[0] >= self.way_s:
                self.window.note_arrival(self.now_s - self.on_the_way.pop(0))
                self.num_waiting += 1

    def _step(self) -> None:
        self.running = [end_s for end_s in self.running if end_s > self.now_s]
        while self.num_waiting and len(self.running) < min(self.room, NUM_SLOTS):
            self.num_waiting -= 1
            self.num_begun += 1
            # Of all lengths, so that they do not end together.
            self.running.append(self.now_s + REQUEST_S * (1 + self.num_begun * 37 % 101 / 50) / 3)
        if self.running:
            self.capacity.note_step(len(self.running))

    def _claim(self) -> None:
        num_at_once = self.capacity.at_once(num_sure=self.num_sure, num_slots=NUM_SLOTS)
        size = self.window.size(num_at_once=num_at_once, num_slots=NUM_SLOTS)
        in_flight = len(self.on_the_way) + self.num_waiting + len(self.running)
        self.on_the_way += [self.now_s] * (size - in_flight)
        self.sizes.append(size)


def test_an_engine_that_has_not_run_yet_gets_what_its_cache_holds_and_a_quarter() -> None:
    engine = Simulation(room=NUM_SLOTS, num_sure=100)

    engine.run(STEP_S)

    assert engine.sizes == [125]


@pytest.mark.parametrize("room", [1, 6, 40, 200])
def test_an_engine_whose_cache_holds_few_always_has_some_waiting_and_few(room: int) -> None:
    engine = Simulation(room, num_sure=1)
    engine.run(60)

    for _ in range(400):
        engine.run(STEP_S)
        assert len(engine.running) == room
        assert 0 < engine.num_waiting + len(engine.on_the_way) <= max(2, room / 2)


def test_a_window_of_an_engine_in_a_steady_state_does_not_swing() -> None:
    engine = Simulation(room=40)
    engine.run(60)

    engine.run(60)

    assert set(engine.sizes) == {50}


def test_an_engine_that_gets_more_room_is_full_again_within_seconds() -> None:
    engine = Simulation(room=8)
    engine.run(60)
    assert engine.sizes[-1] <= 12

    engine.room = NUM_SLOTS
    engine.run(10)

    assert len(engine.running) == NUM_SLOTS
    assert engine.sizes[-1] >= NUM_SLOTS * 5 // 4


def test_an_engine_that_loses_room_is_followed_down() -> None:
    engine = Simulation(room=NUM_SLOTS)
    engine.run(60)
    assert engine.sizes[-1] >= NUM_SLOTS * 5 // 4

    engine.room = 20
    engine.run(120)

    assert engine.sizes[-1] == 25


@pytest.mark.parametrize("way_s", [0.1, 2.0])
def test_a_long_way_does_not_keep_the_engine_from_what_gets_through(way_s: float) -> None:
    engine = Simulation(room=NUM_SLOTS, num_sure=1, way_s=way_s, per_s=20)
    engine.run(120)

    num_begun = engine.num_begun
    engine.run(60)

    assert engine.num_begun - num_begun >= 0.99 * 20 * 60


def test_an_idle_engine_is_given_what_its_cache_holds_again() -> None:
    engine = Simulation(room=200, num_sure=50)
    engine.run(60)
    assert engine.capacity.at_once(num_sure=50, num_slots=NUM_SLOTS) == 200

    engine.now_s += 2 * PERIOD_S

    assert engine.capacity.at_once(num_sure=50, num_slots=NUM_SLOTS) == 50


def test_never_more_than_the_slots_and_never_none() -> None:
    capacity = Capacity()

    assert capacity.at_once(num_sure=1000, num_slots=NUM_SLOTS) == NUM_SLOTS
    assert capacity.at_once(num_sure=0, num_slots=NUM_SLOTS) == 1
