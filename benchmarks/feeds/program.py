"""What the programs share: the requests, the engine's arguments, the clock and what they leave."""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from PIL import Image

from benchmarks.flags import MODEL
from benchmarks.processes import cpu_s_of, python_command
from contextvqa.records import derive_seed
from contextvqa.settings import Engine, Guards, Sampling
from producer.rows import BadRow, read_rows
from worker.conversation import Part, conversation
from worker.engine import Engine as VLLMEngine

SAMPLING = Sampling()
#: Name of the file with what a program leaves, in the directory that it is given.
LEFT = "left.json"

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """What writes: a model, and how its engine is set up."""

    path: Path
    options: Engine

    def engine_arguments(self) -> dict[str, Any]:
        """Prepare this process for vLLM, and return what our worker gives its engine."""
        stall_timeout_s = Guards().stall_timeout_s
        engine = VLLMEngine(str(self.path), self.options, stall_timeout_s=stall_timeout_s)
        return engine.arguments()


#: With the worker's own defaults. The number of sequences is named because vLLM's differs by
#: platform.
FLAGS = Model(path=MODEL, options=Engine(engine=("max_num_seqs=128",)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One text to write."""

    image: Path
    prompt: str
    #: That of the first attempt at this record in a run.
    seed: int

    def open_image(self) -> Image.Image:
        """Return the decoded image."""
        with Image.open(self.image) as image:
            return image.convert("RGB")


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What a program leaves: its times, and what it wrote."""

    load_s: float
    feed_s: float
    #: CPU time of that, the engine's included.
    feed_cpu_s: float
    texts: tuple[str, ...]
    #: Of each text, as vLLM says it.
    finish_reasons: tuple[str, ...]
    prompt_tokens: int
    #: Of these, the tokens that vLLM's prefix cache had.
    cached_tokens: int
    output_tokens: int


def read_requests(source: Path) -> list[Request]:
    """Read an input as our producer does; its images are relative to its directory."""
    return [
        _request(row, source.parent) for row in read_rows(source) if not isinstance(row, BadRow)
    ]


def _request(row: Any, image_root: Path) -> Request:
    return Request(image=image_root / row.image[0], prompt=row.prompt, seed=derive_seed(row.key, 1))


def command(module: str, source: Path, directory: Path, model: Model) -> list[str]:
    """Return the command line of a program of this package."""
    engine = (f"--engine={argument}" for argument in model.options.engine)
    return python_command(
        f"benchmarks.feeds.{module}", str(source), str(directory), f"--model={model.path}", *engine
    )


def messages(request: Request, image: Part, sampling: Sampling = SAMPLING) -> list[dict[str, Any]]:
    """Return a conversation as our worker asks it."""
    return conversation([image], request.prompt, sampling)


def main(
    load: Callable[[Model], AbstractContextManager[Loaded]],
    plan: Callable[[Loaded, Sequence[Request], Path], Callable[[], Iterable[Any]]],
) -> None:
    """
    Load, write all texts, and leave what that took.

    Args:
        load: Gives the engine of a model; timed as loading.
        plan: Does what does not count, and returns the call that does. It gets a directory to
            write to, and returns vLLM's request outputs.

    """
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--engine", action="append", default=[])
    arguments = parser.parse_args()
    model = Model(path=arguments.model, options=Engine(engine=tuple(arguments.engine)))
    began = time.monotonic()
    with load(model) as engine:
        load_s = time.monotonic() - began
        feed = plan(engine, read_requests(arguments.source), arguments.directory)
        cpu_began, began = cpu_s_of(os.getpid()), time.monotonic()
        outputs = list(feed())
        feed_s = time.monotonic() - began
        left = _left(load_s, feed_s, cpu_s_of(os.getpid()) - cpu_began, outputs)
    (arguments.directory / LEFT).write_bytes(orjson.dumps(left))


def _left(load_s: float, feed_s: float, feed_cpu_s: float, outputs: Sequence[Any]) -> Left:
    return Left(
        load_s=load_s,
        feed_s=feed_s,
        feed_cpu_s=feed_cpu_s,
        texts=tuple(output.outputs[0].text for output in outputs),
        finish_reasons=tuple(output.outputs[0].finish_reason for output in outputs),
        prompt_tokens=sum(len(output.prompt_token_ids) for output in outputs),
        cached_tokens=sum(output.num_cached_tokens or 0 for output in outputs),
        output_tokens=sum(len(output.outputs[0].token_ids) for output in outputs),
    )
