# /// script
# dependencies = ["arq==0.28.0", "redis[hiredis]==5.3.1", "hiredis==3.5.0"]
#
# [tool.benchmark]
# num_records = 4000
# ///
"""
arq: one process per stage, a hundred jobs at once; lines are synced on threads.

All by its documented settings: JSON instead of its default pickle, no results kept, and more jobs
and polls than by default, with which it takes a hundred jobs every half second and no more.
"""

import asyncio
from typing import Any

import orjson
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks.chain import DurableFile, Payload, Place, generation_of, line_of, records
from benchmarks.peers import program

place = Place.from_environment()
results = DurableFile(place.results_path)
settings = RedisSettings.from_dsn(place.redis_url)
#: For both stages and the producer.
JSON = {"job_serializer": orjson.dumps, "job_deserializer": orjson.loads}


async def generate_job(context: dict[str, Any], record: Payload) -> None:
    """Stage 1."""
    await place.gate.wait_async()
    await context["redis"].enqueue_job("refine", generation_of(record), _queue_name="refine")


async def refine_job(context: dict[str, Any], generation: Payload) -> None:  # noqa: ARG001
    """Stage 2."""
    await asyncio.to_thread(results.append, line_of(generation))


async def _enqueue(count: int) -> None:
    pool = await create_pool(settings, **JSON)
    for record in records(count):
        await pool.enqueue_job("generate", record, _queue_name="generate")
    await pool.aclose()


def enqueue(count: int) -> None:
    """Enqueue stage 1's jobs."""
    asyncio.run(_enqueue(count))


def work(stage: str) -> None:
    """Run one worker."""
    job = {"generate": generate_job, "refine": refine_job}[stage]
    # It takes the event loop of its thread, which Python no longer makes by itself.
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker(
        [func(job, name=stage)],
        queue_name=stage,
        redis_settings=settings,
        keep_result=0,
        max_jobs=100,
        poll_delay=0.02,
        **JSON,
    ).run()


if __name__ == "__main__":
    program.main(enqueue, lambda: work("generate"), lambda: work("refine"))
