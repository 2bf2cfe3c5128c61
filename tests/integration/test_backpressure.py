"""Queues stay bounded in both directions, and Redis with them."""

import asyncio
from pathlib import Path

import redis

from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.jobs import Content
from contextvqa.queueing.outcomes import Claim, Finished
from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from contextvqa.records import Generation
from contextvqa.settings import Daemon, Guards, Lifetime
from tests.stages import BURST, EchoStage, enqueue, serve, until

#: Bytes of Redis per queued record of the tests' size: the row is most of it, nothing is repeated.
MAX_QUEUED_BYTES = 1_500
#: Bytes per finished record, until `--result-ttl-s` has passed.
MAX_FINISHED_BYTES = 2_000


class SlowRefine(EchoStage):
    """Takes generations off their queue when a test says so."""

    queue = REFINE

    async def execute(self, claim: Claim, content: Content) -> Finished:  # noqa: ARG002
        """Note the id alone: generations are not parsed here."""
        assert isinstance(content, Generation)
        self.executed.append(content.record.id)
        return Finished()


def test_workers_stop_claiming_at_the_high_water_mark_of_the_refine_queue_and_go_on_at_half(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 300)
    refine = rq_queue(REFINE, connection)
    guards = Guards(refine_high_water=50)

    async def scenario() -> None:
        # Given a worker and no refiner
        worker = ConcurrentWorker(
            EchoStage(max_in_flight=10), connection, Daemon(), BURST, guards=guards
        )
        serving = asyncio.create_task(worker.serve())
        await until(lambda: worker.claims.next_watermark.is_holding)

        # Then it stops at the mark, give or take what was in flight, and stays there
        depth = refine.count
        assert 50 <= depth <= 60
        num_claimed = 300 - rq_queue(GENERATE, connection).count
        assert num_claimed == depth

        # When a refiner works the queue off, both come to their end
        refiner = ConcurrentWorker(SlowRefine(), connection, Daemon(), Lifetime())
        refining = asyncio.create_task(refiner.serve())
        await serving
        await until(lambda: refiner.num_settled == 300)
        refiner._stop_claiming()
        await refining

    asyncio.run(scenario())
    assert refine.count == 0


def test_a_queued_and_a_finished_record_take_little_memory_and_a_forgotten_one_none(
    connection: redis.Redis, runs_dir: Path
) -> None:
    count = 2000
    empty = used_bytes(connection)
    enqueue(connection, runs_dir, count)
    queued = used_bytes(connection) - empty

    daemon = Daemon(result_ttl_s=1)
    serve(connection, EchoStage(), daemon)
    refiner = SlowRefine()
    serve(connection, refiner, daemon)
    finished = used_bytes(connection) - empty

    async def wait_for_the_end_of_results() -> None:
        worker = ConcurrentWorker(EchoStage(), connection, daemon, Lifetime())
        serving = asyncio.create_task(worker.serve())
        await until(lambda: used_bytes(connection) - empty < finished / 10)
        worker._stop_claiming()
        await serving

    assert queued / count < MAX_QUEUED_BYTES
    assert finished / count < 2 * MAX_FINISHED_BYTES  # a job of each stage
    asyncio.run(wait_for_the_end_of_results())


def used_bytes(connection: redis.Redis) -> int:
    return int(connection.info("memory")["used_memory_dataset"])
