"""
Slots: how busy one worker process keeps an engine of the pace of a big GPU.

The engine has 256 slots and takes as long for a request as makes the pace, without any CPU
(`benchmarks.paced_worker`); server, refiner and sink are the real ones, and images are not decoded.
Occupied is the share of the slots' time that was used, from the moment when all were taken until
there was nothing left to begin; in the engine is how many requests it then had, for each that it
could run, on average. CPU is what the worker took of one core. With a KV cache that holds a quarter
of what there are slots for, its share is what counts.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from benchmarks.chain import Place
from benchmarks.command import main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.processes import Program, python_command
from contextvqa.errors import UnavailableError
from contextvqa.processes.server import EmbeddedServer

#: What vLLM runs at once by default on a GPU.
NUM_SLOTS = 256
#: Seconds that a request takes, in the environment of the worker.
REQUEST_S_VARIABLE = "BENCHMARK_REQUEST_S"
#: Requests that its KV cache holds, in the same.
ROOM_VARIABLE = "BENCHMARK_ROOM"
#: Records per second that the engine could do.
PACES = (50, 200, 1000, 2000)
#: One with room for a quarter of its slots.
CROWDED_PACE = 50
#: Seconds that a full engine has work for: three requests' time at the slowest pace.
DURATION_S = 20.0
BASELINE = "50/s"
METRICS = (
    Metric(name="occupied_percent", title="slots occupied, %", baseline=BASELINE),
    Metric(name="in_engine_percent", title="in the engine, % of these", baseline=BASELINE),
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="cpu_percent", title="CPU of the worker, % of a core", baseline=BASELINE),
)


class Pace(Contender):
    """An engine of one pace, with room for so many requests at once."""

    def __init__(self, name: str, records_per_s: int, scale: float, room: int = NUM_SLOTS) -> None:
        self.name = name
        self._room = room
        self._request_s = room / records_per_s
        self._num_records = round(records_per_s * DURATION_S * scale) + 2 * NUM_SLOTS
        self.size = f"{self._num_records:,} records"

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Fill the queue, and let the worker empty it."""
        with EmbeddedServer(directory / "redis") as server:
            place = Place(directory, server.url)
            peer = "benchmarks.peers.contextvqa"
            with _start(place, "enqueue", peer, "enqueue", str(self._num_records)) as producer:
                producer.wait()
            environment = {
                REQUEST_S_VARIABLE: str(self._request_s),
                ROOM_VARIABLE: str(self._room),
            }
            with (
                _start(place, "refine", peer, "refine"),
                _start(place, "worker", "benchmarks.paced_worker", **environment) as worker,
            ):
                cpu_percent = _cpu_percent(worker)
        report: dict[str, float] = orjson.loads((directory / "slots.json").read_bytes())
        return {**report, "cpu_percent": cpu_percent}


def _start(place: Place, name: str, module: str, *arguments: str, **environment: str) -> Program:
    command = python_command(module, *arguments)
    variables = place.environment | environment
    return Program(name, command, variables, place.directory / f"{name}.log")


def _cpu_percent(worker: Program) -> float:
    """Wait until the worker ends; return the CPU that it took until shortly before, per time."""
    began, cpu_s, elapsed_s = time.monotonic(), 0.0, 0.0
    while worker.is_running():
        if taken_s := worker.cpu_s():
            cpu_s, elapsed_s = taken_s, time.monotonic() - began
        time.sleep(0.1)
    worker.wait()
    if not elapsed_s:
        raise UnavailableError(f"the worker ended at once (see {worker.log})")
    return 100 * cpu_s / elapsed_s


def contenders(scale: float) -> Sequence[Contender]:
    """Return all paces, and one engine with room for fewer."""
    paces = [Pace(f"{records_per_s}/s", records_per_s, scale) for records_per_s in PACES]
    room = NUM_SLOTS // 4
    return [*paces, Pace(f"{CROWDED_PACE}/s, room for {room}", CROWDED_PACE, scale, room)]


BENCHMARK = Benchmark(
    name="slots",
    title="How busy one worker process keeps an engine of a given pace",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
