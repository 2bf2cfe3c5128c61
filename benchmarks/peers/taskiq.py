# /// script
# dependencies = ["taskiq==0.13.0", "taskiq-redis==1.2.4", "redis[hiredis]==8.1.0", "hiredis==3.5.0"]
#
# [tool.benchmark]
# num_records = 5000
# ///
"""
taskiq with the stream broker of taskiq-redis, its recommended one: acknowledged, one process per
stage, its default of a hundred tasks at once; lines are synced on threads. No result backend.
"""

import asyncio

from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.run import run_worker
from taskiq_redis import RedisStreamBroker

from benchmarks.chain import DurableFile, Payload, Place, generation_of, line_of, records
from benchmarks.peers import program

place = Place.from_environment()
results = DurableFile(place.results_path)
generate_broker = RedisStreamBroker(place.redis_url, queue_name="generate")
refine_broker = RedisStreamBroker(place.redis_url, queue_name="refine")


@generate_broker.task(task_name="generate")
async def generate_task(record: Payload) -> None:
    """Stage 1."""
    await place.gate.wait_async()
    await refine_task.kiq(generation_of(record))


@refine_broker.task(task_name="refine")
async def refine_task(generation: Payload) -> None:
    """Stage 2."""
    await asyncio.to_thread(results.append, line_of(generation))


async def _enqueue(count: int) -> None:
    brokers = (generate_broker, refine_broker)
    # Declares the consumer groups, which see only what is sent after that.
    for broker in brokers:
        await broker.startup()
    for record in records(count):
        await generate_task.kiq(record)
    for broker in brokers:
        await broker.shutdown()


def enqueue(count: int) -> None:
    """Enqueue stage 1's tasks."""
    asyncio.run(_enqueue(count))


def work(broker: str) -> None:
    """Run one worker."""
    raise SystemExit(
        run_worker(
            WorkerArgs(
                broker=f"benchmarks.peers.taskiq:{broker}",
                modules=[],
                workers=1,
                log_level="WARNING",
            )
        )
    )


if __name__ == "__main__":
    program.main(enqueue, lambda: work("generate_broker"), lambda: work("refine_broker"))
