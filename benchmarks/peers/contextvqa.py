# /// script
# dependencies = []
#
# [tool.benchmark]
# num_records = 20000
# ///
"""
This project: the real `enqueue`, `worker` and `refiner` commands, with an engine that answers at once.

The worker is a supervisor and its worker process, as always. Images are not decoded, since no peer
decodes any; otherwise nothing is left out, and all settings have their defaults.
"""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import orjson
from PIL.Image import Image

import worker.command
from benchmarks.chain import MODEL, PROMPT, RUN, TEXT, Place, image_of
from benchmarks.peers import program
from contextvqa import cli
from contextvqa.settings import Images, Sampling
from worker.engine import Engine, Written
from worker.pixel_budget import PixelShare

place = Place.from_environment()


class InstantEngine(Engine):
    """Writes the same text for every record, at once."""

    @property
    def max_num_seqs(self) -> int:
        """What vLLM runs at once by default on a GPU."""
        return 256

    @property
    def num_at_once(self) -> int:
        """All of them."""
        return self.max_num_seqs

    def start(self) -> None:
        """Nothing to load."""

    async def share_of_image(
        self,
        prompt: str,  # noqa: ARG002 - the interface
        sampling: Sampling,  # noqa: ARG002
        num_images: int,  # noqa: ARG002
        *,
        max_record_px: int,
    ) -> PixelShare:
        """Let any image pass."""
        return PixelShare(max_px=max_record_px)

    async def generate(
        self,
        *,
        images: list[Image],  # noqa: ARG002 - the interface
        prompt: str,  # noqa: ARG002
        sampling: Sampling,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        request_id: str,  # noqa: ARG002
    ) -> Written:
        """Return the text; the gate is where a model would begin to write."""
        await place.gate.wait_async()
        return Written(text=TEXT, finish_reason="stop", prompt_tokens=200, output_tokens=250)


class NoDecoders:
    """Decodes nothing, at once."""

    def __init__(self, images: Images, *, num_cores: int) -> None:
        """Need nothing of the settings."""

    async def start(self) -> None:
        """Nothing to start."""

    async def load(self, references: Sequence[str], share: PixelShare) -> list[Image]:  # noqa: ARG002
        """Return no images."""
        return []

    async def stop(self) -> None:
        """Nothing to stop."""


def enqueue(count: int) -> None:
    """Write an input and enqueue it, all of it before a worker starts."""
    source = place.directory / "input.jsonl"
    _write_input(source, count)
    run = ("--run", RUN, "--model", MODEL, "--high-water", str(count + 1))
    _command("enqueue", str(source), *run, "--runs-dir", str(place.runs_dir))


def generate() -> None:
    """Be the worker."""
    with (
        mock.patch.object(worker.command, "VLLMEngine", InstantEngine),
        mock.patch.object(worker.command, "Decoders", NoDecoders),
    ):
        _command("worker", "--model", MODEL)


def refine() -> None:
    """Be the refiner."""
    _command("refiner", "--runs-dir", str(place.runs_dir))


def _write_input(path: Path, count: int) -> None:
    conversation = [{"from": "human", "value": f"<image>\n{PROMPT}"}]
    with path.open("wb") as file:
        for number in range(1, count + 1):
            row = {"image": [image_of(number)], "conversation": conversation}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _command(*arguments: str) -> None:
    raise SystemExit(cli.main([*arguments, "--redis-url", place.redis_url]))


if __name__ == "__main__":
    program.main(enqueue, generate, refine)
