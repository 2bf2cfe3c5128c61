# /// script
# dependencies = []
#
# [tool.benchmark]
# num_records = 1500
# ///
"""
Stock rq's SimpleWorker: one process per stage, one job at a time, no fork per job.

JSON payloads by rq's own `JSONSerializer`; finished jobs stay for rq's default time, as ours do for
300 s. A job that it runs enqueues the job that follows, as rq's documentation does it.
"""

import redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from benchmarks.chain import DurableFile, Payload, Place, generation_of, line_of, records
from benchmarks.peers import program

place = Place.from_environment()
connection = redis.Redis.from_url(place.redis_url)
generate_queue = Queue("generate", connection=connection, serializer=JSONSerializer)
refine_queue = Queue("refine", connection=connection, serializer=JSONSerializer)
results = DurableFile(place.results_path)

#: Jobs name their function by its place in this module, not in `__main__`.
MODULE = "benchmarks.peers.rq_simple_worker"


def generate_job(record: Payload) -> None:
    """Stage 1."""
    place.gate.wait()
    refine_queue.enqueue(f"{MODULE}.refine_job", generation_of(record))


def refine_job(generation: Payload) -> None:
    """Stage 2."""
    results.append(line_of(generation))


def enqueue(count: int) -> None:
    """Enqueue stage 1's jobs, many in one call, as rq's documentation says."""
    generate_queue.enqueue_many(
        [Queue.prepare_data(f"{MODULE}.generate_job", (record,)) for record in records(count)]
    )


def work(queue: Queue, kind: type[BaseWorker] = SimpleWorker) -> None:
    """Run one worker; `kind` is the only difference between the two of rq's."""
    kind([queue], connection=connection, serializer=JSONSerializer).work(logging_level="WARNING")


if __name__ == "__main__":
    program.main(enqueue, lambda: work(generate_queue), lambda: work(refine_queue))
