"""
Queues: how many records per second two stages move, and what each record costs.

All contenders carry the same records through the same two stages (`benchmarks.chain`) on the same
server program with the same settings, one process per stage: stage 1 answers at once with the same
text, stage 2 parses it with our parser and appends one line, on disk before the job is finished.
Images are decoded by none. Each peer is set up as its documentation says for Redis, with JSON
payloads and the C parser of replies that we use too; its file under `benchmarks/peers` says how.

The queue is full before the workers start. The first record warms both stages and is not counted;
the clock starts when its line is on disk, and ends with the last line. What a worker claims ahead
it has by then: at most 320 of our 20,000. The looks at the file come every 10 ms.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import redis

from benchmarks.ceiling import Ceiling
from benchmarks.chain import Place
from benchmarks.command import OUTPUT, main
from benchmarks.environments import Metadata, environment_of
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.lines import Lines
from benchmarks.processes import Program, python_command
from contextvqa.errors import UnavailableError
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect

#: Modules of `benchmarks.peers`, ours first, then in the order of the table.
PEERS = ("contextvqa", "rq_simple_worker", "rq_worker", "celery", "dramatiq", "arq", "taskiq")
BASELINE = "rq_simple_worker"
METRICS = (
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="generate_cpu_ms", title="CPU ms/record, stage 1", baseline=BASELINE),
    Metric(name="refine_cpu_ms", title="CPU ms/record, stage 2", baseline=BASELINE),
    Metric(name="server_cpu_ms", title="CPU ms/record, server", baseline=BASELINE),
    Metric(name="cpu_ms", title="CPU ms/record, all three", baseline=BASELINE),
    Metric(name="commands_per_record", title="commands/record", baseline=BASELINE),
    Metric(name="commands_per_s", title="commands/s", baseline=Ceiling.name),
)
#: Longest time without a new line, in seconds: then a contender has stalled.
STALL_S = 60.0


class Peer(Contender):
    """One of the queues: a program of `benchmarks.peers`."""

    def __init__(self, name: str, scale: float) -> None:
        self.name = name
        self._module = f"benchmarks.peers.{name}"
        self._metadata = Metadata.read(Path(__file__).parent / "peers" / f"{name}.py")
        self._num_records = max(1, round(self._metadata.num_records * scale))
        self._python: Path | None = None
        self.size = f"{self._num_records:,} records"
        self.packages = self._metadata.dependencies

    def prepare(self) -> None:
        """Make its environment."""
        place = (OUTPUT / "environments").resolve()
        self._python = environment_of(self.name, self.packages, place)

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Fill the queue, let both stages empty it, and look what that took."""
        with EmbeddedServer(directory / "redis") as server, connect(server.url) as connection:
            place = Place(directory, server.url)
            with self._start(place, "enqueue", str(self._num_records + 1)) as producer:
                producer.wait()
            with (
                self._start(place, "generate") as generate,
                self._start(place, "refine") as refine,
            ):
                measured = self._measure(place, connection, generate, refine)
        check_lines(place.results_path, self._num_records + 1)
        return measured

    def _start(self, place: Place, verb: str, *arguments: str, **variables: str) -> Program:
        command = python_command(self._module, verb, *arguments, python=self._python)
        environment = place.environment | variables
        return Program(verb, command, environment, place.directory / f"{verb}.log")

    def _measure(
        self, place: Place, connection: redis.Redis, generate: Program, refine: Program
    ) -> dict[str, float]:
        path = place.results_path
        lines = Lines(path.parent, (path.name,), (generate, refine), stall_s=STALL_S)
        lines.wait_for(1)
        before = Cost.now(connection, generate, refine)
        place.gate.open()
        lines.wait_for(self._num_records + 1)
        after = Cost.now(connection, generate, refine)
        return after.since(before, self._num_records)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What was spent until a moment."""

    monotonic_s: float
    generate_cpu_s: float
    refine_cpu_s: float
    server_cpu_s: float
    num_commands: int

    @classmethod
    def now(cls, connection: redis.Redis, generate: Program, refine: Program) -> "Cost":
        """Look at both stages and the server; the time is taken first."""
        monotonic_s = time.monotonic()
        server = connection.info()
        return cls(
            monotonic_s=monotonic_s,
            generate_cpu_s=generate.cpu_s(),
            refine_cpu_s=refine.cpu_s(),
            server_cpu_s=server["used_cpu_user"] + server["used_cpu_sys"],
            num_commands=server["total_commands_processed"],
        )

    def since(self, before: "Cost", num_records: int) -> dict[str, float]:
        """Return the metrics of the time between."""
        elapsed_s = self.monotonic_s - before.monotonic_s
        num_commands = self.num_commands - before.num_commands
        per_record_ms = 1000 / num_records
        generate_ms = (self.generate_cpu_s - before.generate_cpu_s) * per_record_ms
        refine_ms = (self.refine_cpu_s - before.refine_cpu_s) * per_record_ms
        server_ms = (self.server_cpu_s - before.server_cpu_s) * per_record_ms
        return {
            "records_per_s": num_records / elapsed_s,
            "generate_cpu_ms": generate_ms,
            "refine_cpu_ms": refine_ms,
            "server_cpu_ms": server_ms,
            "cpu_ms": generate_ms + refine_ms + server_ms,
            "commands_per_record": num_commands / num_records,
            "commands_per_s": num_commands / elapsed_s,
        }


def check_lines(path: Path, count: int) -> None:
    """Refuse a measurement in which a record was lost, doubled or not parsed."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    keys = {line["meta"]["key"] for line in lines if line["context_vqa"]["qas"]}
    if not len(lines) == len(keys) == count:
        raise UnavailableError(
            f"{len(lines)} lines with {len(keys)} keys for {count} records (see {path})"
        )


def contenders(scale: float) -> list[Contender]:
    """Return all peers, and the server alone."""
    return [*(Peer(name, scale) for name in PEERS), Ceiling(scale)]


BENCHMARK = Benchmark(
    name="queues",
    title="Two stages through one Redis: records/s, CPU and commands per record",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
