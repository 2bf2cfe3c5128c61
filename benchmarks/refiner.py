"""
Refiner: how fast texts are parsed, and how fast a refiner process turns them into durable lines.

`parser` calls the parser alone with a text of 2 KB, as long and as laid out as what models write,
and counts the CPU time of one core; `gates` does so with the gates by default, on the same text as
parsed. `refiner` is the real command on a queue that is full of
generations with that text; its clock runs from the moment when it is about to claim to the last
line. The program counts its calls of fsync (`benchmarks.refining`): one makes a batch durable.
"""

import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import redis

from benchmarks.chain import MODEL, RUN, TEXT
from benchmarks.command import main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.lines import READY, Lines, wait_for_words
from benchmarks.processes import Program, python_command
from contextvqa.gates import Quality
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing import bookkeeping
from contextvqa.queueing.connection import connect
from contextvqa.queueing.jobs import refine_job
from contextvqa.queueing.queues import REFINE, rq_queue
from contextvqa.records import Generation, ImageRecord
from contextvqa.settings import Sampling
from contextvqa.storage.run_directory import RunDirectory
from refiner.gates.judge import judge
from refiner.parser.parsing import Parsed, parse

NUM_TEXTS = 20_000
NUM_RECORDS = 20_000
#: Jobs enqueued in one transaction.
BATCH = 500
#: Longest time without progress, in seconds.
STALL_S = 60.0
METRICS = (
    Metric(name="texts_per_s", title="texts/s per core", baseline="parser"),
    Metric(name="records_per_s", title="records/s", baseline="refiner"),
    Metric(name="cpu_ms", title="CPU ms/record", baseline="refiner"),
    Metric(name="fsyncs_per_record", title="fsyncs/record", baseline="refiner"),
)


#: Goes on after the article of the queue benchmark.
MORE_PARAGRAPHS = """The country was settled from the coast inwards. Its oldest towns grew around harbours that stay free \
of ice, and until the first railway of 1868 most goods travelled by sea. Halden lies at the mouth of \
the Tista, whose falls drove the sawmills that made the city rich; its harbour front of timber \
houses burned down in 1759 and was built again in stone. Today about one third of the 2.4 million \
inhabitants live in the capital and its suburbs.

Summers are short and mild, and in the northern province the sun does not set for seven weeks. \
Forests of spruce and birch cover half of the land, reindeer are herded on the plateau, and cod, \
herring and mackerel are landed all year. The parliament, the Storting, has 121 members who are \
elected every four years. Schooling is free up to the age of nineteen, and the university, founded \
in 1811, teaches in both official languages. The national day, the seventeenth of May, recalls the \
constitution of 1814, which is among the oldest that are still in force anywhere in the world.\
"""


def text_of_2_kb() -> str:
    """Return the text of the queue benchmark with two more paragraphs in its article."""
    article = TEXT.split("\n\n")[1]
    return TEXT.replace(article, f"{article}\n\n{MORE_PARAGRAPHS}")


class Parser(Contender):
    """The parser alone, on one core."""

    name = "parser"

    def __init__(self, scale: float) -> None:
        self._text = text_of_2_kb()
        self._num_texts = max(1, round(NUM_TEXTS * scale))
        self.size = f"{self._num_texts:,} texts of {len(self._text):,} bytes"

    def measure(self, directory: Path) -> Mapping[str, float]:  # noqa: ARG002 - leaves nothing
        """Parse the text again and again."""
        began = time.process_time()
        for _ in range(self._num_texts):
            parsed = parse(self._text)
        elapsed_s = time.process_time() - began
        assert isinstance(parsed, Parsed)  # noqa: S101 - else the figure means nothing
        return {"texts_per_s": self._num_texts / elapsed_s}


class Gates(Contender):
    """The gates alone, on one core."""

    name = "gates"

    def __init__(self, scale: float) -> None:
        self._text = text_of_2_kb()
        self._num_texts = max(1, round(NUM_TEXTS * scale))
        self.size = f"{self._num_texts:,} texts of {len(self._text):,} bytes"

    def measure(self, directory: Path) -> Mapping[str, float]:  # noqa: ARG002 - leaves nothing
        """Judge the parsed text again and again."""
        quality = Quality()
        parsed = parse(self._text)
        assert isinstance(parsed, Parsed)  # noqa: S101 - else there is nothing to judge
        began = time.process_time()
        for _ in range(self._num_texts):
            judged = judge(parsed, self._text, quality)
        elapsed_s = time.process_time() - began
        assert judged.is_accepted  # noqa: S101 - else the figure means nothing
        return {"texts_per_s": self._num_texts / elapsed_s}


class Refiner(Contender):
    """A refiner process."""

    name = "refiner"

    def __init__(self, scale: float) -> None:
        self._num_records = max(1, round(NUM_RECORDS * scale))
        self.size = f"{self._num_records:,} records"

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Fill the queue, and let the refiner empty it."""
        run = RunDirectory(directory, RUN)
        run.begin(MODEL, Sampling(), "benchmark")
        fsyncs = directory / "fsyncs"
        log = directory / "refiner.log"
        with EmbeddedServer(directory / "redis") as server, connect(server.url) as connection:
            fill(connection, self._num_records)
            options = ("--runs-dir", str(directory), "--redis-url", server.url)
            command = python_command("benchmarks.refining", str(fsyncs), *options)
            with Program(self.name, command, {}, log) as program:
                began = wait_for_words(READY, log, program, stall_s=STALL_S)
                cpu_s = program.cpu_s()
                lines = Lines(run.path, (run.results_path.name,), (program,), stall_s=STALL_S)
                lines.wait_for(self._num_records)
                elapsed_s = time.monotonic() - began
                cpu_s = program.cpu_s() - cpu_s
                num_fsyncs = fsyncs.stat().st_size
        return {
            "records_per_s": self._num_records / elapsed_s,
            "cpu_ms": 1000 * cpu_s / self._num_records,
            "fsyncs_per_record": num_fsyncs / self._num_records,
        }


def fill(connection: redis.Redis, num_records: int) -> None:
    """Enqueue generations, as a worker does that hands them on."""
    queue = rq_queue(REFINE, connection)
    text = text_of_2_kb()
    numbers = iter(range(1, num_records + 1))
    while specs := [refine_job(generation_of(number, text)) for number in islice(numbers, BATCH)]:
        with connection.pipeline(transaction=True) as pipeline:
            bookkeeping.enqueue(pipeline, queue, specs)
            pipeline.execute()


def generation_of(number: int, text: str) -> Generation:
    """Return what a worker would have made of a record."""
    record = ImageRecord(
        run=RUN,
        key=f"{number:032x}",
        id=number,
        image=(f"images/{number:08}.png",),
        prompt_digest="a4fbf2b63255870f",
    )
    return Generation(
        record=record,
        text=text,
        finish_reason="stop",
        prompt_tokens=200,
        output_tokens=500,
        seed=1,
        model=MODEL,
        worker="benchmark",
        generated_at="2026-01-01T00:00:00+00:00",
        image_s=0.0,
        engine_s=0.0,
    )


def contenders(scale: float) -> list[Contender]:
    """Return the parser, the gates and the process."""
    return [Parser(scale), Gates(scale), Refiner(scale)]


BENCHMARK = Benchmark(
    name="refiner",
    title="Texts into durable lines: the parser alone, the gates alone, and a refiner process",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
