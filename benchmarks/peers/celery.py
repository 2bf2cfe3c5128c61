# /// script
# dependencies = ["celery[redis]==5.7.0", "redis[hiredis]==8.1.0", "hiredis==3.5.0"]
#
# [tool.benchmark]
# num_records = 3000
# ///
"""
Celery: its pool of threads, as many as Dramatiq's, in one process per stage; default prefetching.

Threads are what its documentation has for work that waits, here for the disk; its default, prefork,
is one process more per stage and was slower (86 records/s, not 146, beside other load).
`ignore_result`, as its documentation advises where nobody reads results, and `acks_late`: a task
counts as finished after its line is on disk, not before it runs. JSON is its default.
"""

from celery import Celery

from benchmarks.chain import DurableFile, Payload, Place, generation_of, line_of, records
from benchmarks.peers import program

place = Place.from_environment()
results = DurableFile(place.results_path)
app = Celery("benchmark", broker=place.redis_url.replace("unix://", "redis+socket://", 1))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    task_routes={"generate": {"queue": "generate"}, "refine": {"queue": "refine"}},
)


@app.task(name="generate")
def generate_task(record: Payload) -> None:
    """Stage 1."""
    place.gate.wait()
    refine_task.delay(generation_of(record))


@app.task(name="refine")
def refine_task(generation: Payload) -> None:
    """Stage 2."""
    results.append(line_of(generation))


def enqueue(count: int) -> None:
    """Enqueue stage 1's tasks."""
    for record in records(count):
        generate_task.delay(record)


def work(queue: str) -> None:
    """Run one worker."""
    options = ["--queues", queue, "--pool", "threads", "--concurrency", "8"]
    app.worker_main(["worker", *options, "--loglevel", "WARNING", "--hostname", f"{queue}@%h"])


if __name__ == "__main__":
    program.main(enqueue, lambda: work("generate"), lambda: work("refine"))
