# /// script
# dependencies = ["dramatiq[redis]==2.2.1", "redis[hiredis]==8.1.0", "hiredis==3.5.0"]
#
# [tool.benchmark]
# num_records = 6000
# ///
"""
Dramatiq: its command with one process per stage, its default of eight threads and its middleware.

JSON, and acknowledging after the work, are its defaults; results are off by default.
"""

import dramatiq
from dramatiq import cli
from dramatiq.brokers.redis import RedisBroker

from benchmarks.chain import DurableFile, Payload, Place, generation_of, line_of, records
from benchmarks.peers import program

place = Place.from_environment()
results = DurableFile(place.results_path)
dramatiq.set_broker(RedisBroker(url=place.redis_url))


@dramatiq.actor(queue_name="generate")
def generate_actor(record: Payload) -> None:
    """Stage 1."""
    place.gate.wait()
    refine_actor.send(generation_of(record))


@dramatiq.actor(queue_name="refine")
def refine_actor(generation: Payload) -> None:
    """Stage 2."""
    results.append(line_of(generation))


def enqueue(count: int) -> None:
    """Enqueue stage 1's messages."""
    for record in records(count):
        generate_actor.send(record)


def work(queue: str) -> None:
    """Run one worker."""
    options = ["benchmarks.peers.dramatiq", "--processes", "1", "--queues", queue]
    raise SystemExit(cli.main(cli.make_argument_parser().parse_args(options)))


if __name__ == "__main__":
    program.main(enqueue, lambda: work("generate"), lambda: work("refine"))
