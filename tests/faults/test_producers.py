"""Producers: many at once, killed and run again, and each record is executed once."""

import signal
import time

from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.plan import trials
from tests.faults.tally import Tally
from tests.faults.world import entries

NUM_RECORDS = 1200


def test_four_producers_of_which_one_is_killed_have_each_record_executed_once(
    make_world: MakeWorld,
) -> None:
    for trial in trials("producers"):
        executed = Tally()
        with make_world(trial, entries(NUM_RECORDS)) as world:
            # Given a worker that is busy from the first record on
            world.script = Script(latency_s=(0, 0.01), max_num_seqs=64, executed=executed)
            producers = [world.producer() for _ in range(4)]
            daemons = [world.worker(), world.refiner()]

            # When one of four producers is killed and run again
            time.sleep(trial.random.uniform(0, 0.3))
            victim = trial.random.choice(producers)
            victim.send(signal.SIGKILL)
            world.note_fault()
            again = world.producer()
            producers.remove(victim)
            assert [producer.wait() for producer in (*producers, again)] == [0] * 4

            # Then no record was executed twice, and none is missing
            world.finish(daemons)
            assert executed.value == NUM_RECORDS


def test_a_producer_that_comes_while_records_are_in_flight_enqueues_none_of_them_again(
    make_world: MakeWorld,
) -> None:
    for trial in trials("producers"):
        executed = Tally()
        with make_world(trial, entries(40)) as world:
            world.script = Script(latency_s=(0.05, 0.2), executed=executed)
            assert world.producer().wait() == 0
            daemons = [world.worker(), world.refiner()]
            while not world.is_complete():
                assert world.producer().wait() == 0
                world.note_fault()
            world.finish(daemons)
            assert executed.value == 40
