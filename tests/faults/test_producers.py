"""Producers: many at once, killed and run again, and each record is executed once."""

import signal
import time

from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.injection import stop_at_exec
from tests.faults.ledger import Entry
from tests.faults.plan import trials
from tests.faults.tally import Tally
from tests.faults.world import entries, wait_for

NUM_RECORDS = 1200
#: Transactions of a producer before the one that enqueues: the run's configuration.
ENQUEUE_EXEC = 1


def test_four_producers_of_which_one_is_killed_have_each_record_executed_once(
    make_world: MakeWorld,
) -> None:
    for trial in trials("producers"):
        executed = Tally()
        records = entries(NUM_RECORDS)
        with make_world(trial, records) as world:
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
            assert_executed_once(executed, count_attempts(records))


def test_a_producer_that_comes_while_records_are_in_flight_enqueues_none_of_them_again(
    make_world: MakeWorld,
) -> None:
    for trial in trials("producers"):
        executed = Tally()
        records = entries(40)
        with make_world(trial, records) as world:
            # Given records that are all in flight
            world.script = Script(latency_s=(0.2, 0.8), max_num_seqs=64, executed=executed)
            assert world.producer().wait() == 0
            daemons = [world.worker(), world.refiner()]
            wait_for(lambda world=world: world.count_in_flight() == 40)

            # When they are enqueued again, and again
            for _ in range(5):
                world.note_fault()
                assert world.producer().wait() == 0

            # Then each is executed once
            wait_for(world.is_complete)
            assert_executed_once(executed, count_attempts(records))
            world.finish(daemons)


def test_a_producer_that_sleeps_between_its_look_and_its_write_enqueues_nothing_again(
    make_world: MakeWorld,
) -> None:
    for trial in trials("producers"):
        executed = Tally()
        records = entries(40)
        with make_world(trial, records) as world:
            # Given a producer that has found all records missing, and is stopped
            world.script = Script(executed=executed)
            sleeper = world.producer(patches=[stop_at_exec(ENQUEUE_EXEC)])
            wait_for(sleeper.is_stopped)
            world.note_fault()

            # When another one enqueues them and they are executed before it wakes up
            assert world.producer().wait() == 0
            assert world.worker("--burst").wait() == 0
            sleeper.send(signal.SIGCONT)

            # Then it finds them on their way
            assert sleeper.wait() == 0
            assert world.worker("--burst").wait() == 0
            # Nothing was refined yet, so that no record needs another attempt.
            assert_executed_once(executed, len(records))
            world.finish()


def assert_executed_once(executed: Tally, count: int) -> None:
    """Compare requests to the engine with attempts: a copy may hide, but not its request."""
    assert executed.value == count, f"{count} attempts were executed {executed.value} times"


def count_attempts(records: list[Entry]) -> int:
    return sum(record.num_attempts for record in records)
