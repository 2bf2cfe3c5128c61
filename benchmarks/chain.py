"""
The work that every queue carries in `benchmarks.queues`: two stages, the same payloads, one file.

Stage 1 (generate) turns a record into a generation without a model, stage 2 (refine) parses the
text and appends one line, on disk before the job may count as done. It runs in the environments of
peers too, which have nothing of ours installed but what `refiner.parser.parsing` needs.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from refiner.parser.parsing import Parsed, parse

#: Name of the run, and of the model that its records ask for.
RUN, MODEL = "benchmark", "instant"
PROMPT = "Write a Wikipedia article related to this image. Then write question answer pairs."
#: What stage 1 writes for every record: as long and as laid out as what models write.
TEXT = """\
Wikipedia Article: Kingdom of Norvia

The Kingdom of Norvia, with its capital Halden, is a constitutional monarchy in the north of the \
continent. It was founded in 1814, when the three coastal provinces left the union, and its flag, \
a white cross on a blue field, has been in use since 1821. The official languages are Norvian and \
Coastal Sami. The currency is the crown, which has been divided into one hundred ore since the \
reform of 1875. Norvia borders Sundland to the east and the Grey Sea to the west, and its economy \
rests on fisheries, shipping and hydroelectric power, which covers nearly all of its consumption.

Question Answer Pairs:

1. Question: What is the capital city of the nation this flag stands for?
Answer: Halden

2. Question: In which year did this banner come into use?
Answer: 1821

3. Question: Which body of water lies to the west of the country that flies it?
Answer: Grey Sea
"""
POLL_S = 0.001

Payload = dict[str, Any]


class Place:
    """Where one repetition takes place: its server, its result file, and its starting gate."""

    VARIABLES = ("BENCHMARK_DIRECTORY", "BENCHMARK_REDIS_URL")

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory = directory
        self.redis_url = redis_url
        self.runs_dir = directory / "runs"
        self.results_path = self.runs_dir / RUN / "results.jsonl"
        self.results_path.parent.mkdir(parents=True, exist_ok=True)
        self.gate = Gate(directory)

    @classmethod
    def from_environment(cls) -> "Place":
        """Return the place that the benchmark has started this process for."""
        directory, redis_url = (os.environ[name] for name in cls.VARIABLES)
        return cls(Path(directory), redis_url)

    @property
    def environment(self) -> dict[str, str]:
        """What `from_environment` reads in another process."""
        return dict(zip(self.VARIABLES, (str(self.directory), self.redis_url), strict=True))


class Gate:
    """
    Holds stage 1 after its first record until the clock runs.

    The first record warms both stages; when its line is on disk, all processes are up, and only
    then are the others let through. So no contender is measured while it imports and connects.
    """

    def __init__(self, directory: Path) -> None:
        self._first = directory / "first"
        self._opened = directory / "opened"
        self._is_open = False

    def open(self) -> None:
        """Let all records through."""
        self._opened.touch()

    def wait(self) -> None:
        """Return when this record may pass."""
        while not self._may_pass():
            time.sleep(POLL_S)

    async def wait_async(self) -> None:
        """As `wait`, for those that run many records on one event loop."""
        while not self._may_pass():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(POLL_S)

    def _may_pass(self) -> bool:
        if self._is_open or self._opened.exists():
            self._is_open = True
            return True
        try:
            self._first.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def image_of(number: int) -> str:
    """Return the image reference of a record; the file need not exist."""
    return f"images/{number:08}.png"


def records(count: int) -> Iterator[Payload]:
    """Yield the payloads that peers enqueue: what our own producer puts into a job."""
    for number in range(1, count + 1):
        yield {
            "run": RUN,
            "key": f"{number:032x}",
            "id": number,
            "image": [image_of(number)],
            "prompt_digest": "a4fbf2b63255870f",
            "attempt": 1,
        }


def generation_of(record: Payload) -> Payload:
    """Return what stage 1 hands on: the fields that our own worker does."""
    return {
        "record": record,
        "text": TEXT,
        "finish_reason": "stop",
        "prompt_tokens": 200,
        "output_tokens": 250,
        "seed": 1,
        "model": MODEL,
        "worker": "peer",
        "generated_at": "2026-01-01T00:00:00+00:00",
        "image_s": 0.0,
        "engine_s": 0.0,
    }


def line_of(generation: Payload) -> bytes:
    """Parse a generation, and return its line, newline included."""
    parsed = parse(generation["text"], generation["finish_reason"])
    if not isinstance(parsed, Parsed):
        raise TypeError(f"the parser refuses the benchmark's own text: {parsed.message}")
    record, text, *_ = generation.values()
    meta = {name: value for name, value in generation.items() if name not in ("record", "text")}
    content = {
        "id": record["id"],
        "image": record["image"],
        "context_vqa": parsed.context_vqa,
        "vqa": text,
        "meta": {"key": record["key"], "run": record["run"], **meta, "checks": {}},
    }
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


class DurableFile:
    """The peers' result file: one write and one fsync per line, from any number of threads."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, line: bytes) -> None:
        """Return when the line is on disk."""
        os.write(self._descriptor, line)
        os.fsync(self._descriptor)
