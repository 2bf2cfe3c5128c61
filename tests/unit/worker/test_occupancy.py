"""Slots and what they wait for, by a clock of the test's own."""

from dataclasses import replace

from contextvqa.queueing.meter import Hold
from worker.occupancy import Look, Occupancy

FULL = Look(
    num_slots=10,
    num_in_engine=10,
    num_rendering=0,
    num_decoding=0,
    num_waiting=0,
    stalled_s=0.0,
    hold=Hold.WINDOW,
)


def seconds_of(look: Look) -> dict[str, float]:
    """Return the seconds of ten slots, by state, of two seconds that are all like this."""
    now_s = [100.0]
    occupancy = Occupancy(lambda: look, lambda: now_s[0])
    for _ in range(2):
        now_s[0] += 1
        occupancy.note()
    (family,) = [f for f in occupancy.collect() if f.name == "contextvqa_slot_seconds"]
    return {sample.labels["state"]: sample.value for sample in family.samples if sample.value}


def test_requests_that_wait_for_a_slot_make_no_slot_busier_than_it_is() -> None:
    assert seconds_of(replace(FULL, num_in_engine=14, num_decoding=3)) == {"busy": 20.0}


def test_an_idle_slot_waits_for_the_record_that_is_nearest_and_else_for_what_holds_claims() -> None:
    look = replace(
        FULL, num_in_engine=3, num_rendering=1, num_decoding=2, num_waiting=1, hold=Hold.QUEUE_EMPTY
    )

    assert seconds_of(look) == {
        "busy": 6.0,
        "rendering": 2.0,
        "decoding": 4.0,
        "retry_wait": 2.0,
        "queue_empty": 6.0,
    }


def test_more_records_on_their_way_than_idle_slots_hide_what_holds_claims() -> None:
    look = replace(FULL, num_in_engine=8, num_decoding=5, hold=Hold.REFINE_BACKLOG)

    assert seconds_of(look) == {"busy": 16.0, "decoding": 4.0}


def test_slots_of_an_engine_that_writes_no_token_are_not_busy() -> None:
    assert seconds_of(replace(FULL, stalled_s=30.0)) == {"stalled": 20.0}


def test_there_are_no_slots_before_the_engine_is_there() -> None:
    assert seconds_of(replace(FULL, num_slots=0, num_in_engine=0, hold=Hold.LOADING)) == {}
