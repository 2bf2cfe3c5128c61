"""
Start-up: how long after its start a worker claims its first record, and where that time goes.

`worker` is the real `contextvqa worker` with the model of examples/flags and a record in its queue.
`vllm_alone` constructs the same engine and nothing else. Both are told apart into steps by what
they log, seen from outside every 10 ms; each step ends with the words of `STEPS`. A claim is seen
in Redis.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import redis

from benchmarks import flags
from benchmarks.command import OUTPUT, main
from benchmarks.feeds.program import FLAGS
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.lines import POLL_S, READY, wait_for_words
from benchmarks.processes import Program, python_command
from contextvqa.errors import UnavailableError
from contextvqa.options import as_flags
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.queues import GENERATE, rq_queue

BASELINE = "vllm_alone"
LOADED = "loaded: model"
#: The steps in order: the metric, its title, and the words in the log that end it.
STEPS = (
    ("own_s", "own imports and Redis, s", "loading: model"),
    ("imports_s", "imports of vLLM and its configuration, s", "Resolved architecture"),
    ("core_s", "engine process: start and imports, s", "Initializing a V1 LLM engine"),
    ("model_s", "model, KV cache, warm-up, s", "init engine"),
    ("loaded_s", "until the engine can be used, s", LOADED),
    ("ready_s", "decoders and registration, s", READY),
)
CLAIM = ("claim_s", "first claim, s")
METRICS = (
    *(Metric(name=name, title=title, baseline=BASELINE) for name, title, _ in STEPS),
    Metric(name=CLAIM[0], title=CLAIM[1], baseline=BASELINE),
    Metric(name="total_s", title="total, s", baseline=BASELINE),
)
#: Longest time that a step may take, in seconds.
STALL_S = 180.0


class Alone(Contender):
    """vLLM, with the arguments of our worker."""

    name = BASELINE
    size = "one start"

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Start it, and note its steps."""
        log = directory / "log"
        began = time.monotonic()
        with Program(self.name, python_command("benchmarks.vllm_alone"), {}, log) as program:
            steps = follow(log, program, began, until=LOADED)
        return {**steps, "total_s": sum(steps.values())}


class Worker(Contender):
    """A worker, from its start to its first claim."""

    name = "worker"
    size = "one start"

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Enqueue a record, start the worker, and note its steps and when the record is claimed."""
        source = flags.draw(1, OUTPUT.resolve())
        shared = ["--model", str(flags.MODEL)]
        log = directory / "log"
        with EmbeddedServer(directory / "redis") as server, connect(server.url) as connection:
            shared += ["--redis-url", server.url]
            enqueue = python_command(
                *("contextvqa", "enqueue", str(source), *shared),
                *("--run", "startup", "--runs-dir", str(directory)),
            )
            with Program("enqueue", enqueue, {}, directory / "enqueue.log") as producer:
                producer.wait()
            options = (*as_flags(FLAGS.options), "--image-root", str(source.parent))
            command = python_command("contextvqa", "worker", *shared, *options)
            began = time.monotonic()
            with Program(self.name, command, {}, log) as program:
                steps = follow(log, program, began, until=READY)
                claim_s = wait_for_claim(connection, program) - began - sum(steps.values())
        return {**steps, CLAIM[0]: claim_s, "total_s": claim_s + sum(steps.values())}


def follow(log: Path, program: Program, began: float, *, until: str) -> dict[str, float]:
    """Return the time of each step, to the one that ends with these words."""
    steps = {}
    for name, _, words in STEPS:
        ended = wait_for_words(words, log, program, stall_s=STALL_S)
        steps[name], began = ended - began, ended
        if words == until:
            break
    return steps


def wait_for_claim(connection: redis.Redis, program: Program) -> float:
    """Return when the queue is empty: the time, by the monotonic clock."""
    queue = rq_queue(GENERATE, connection)
    deadline = time.monotonic() + STALL_S
    while queue.count:
        program.check()
        if time.monotonic() > deadline:
            raise UnavailableError(f"no claim within {STALL_S:.0f} s (see {program.log})")
        time.sleep(POLL_S)
    return time.monotonic()


def contenders(scale: float) -> list[Contender]:  # noqa: ARG001 - a start is a start
    """Return both."""
    return [Alone(), Worker()]


BENCHMARK = Benchmark(
    name="startup",
    title="From the start of a worker to its first claim",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
