"""
The real worker with an engine that keeps the pace of a big GPU: so many slots, so long a request.

Its KV cache may hold fewer requests than it has slots. As vLLM does it says how many run, and how
many of full length it has room for: a quarter of what it runs.

A request holds its slot for a time around that, as texts are of different lengths, and takes no CPU.
What the engine could have done is known, and what it was given it counts.
"""

import asyncio
import os
import random
import time
from statistics import mean
from typing import Any
from unittest import mock

import orjson

import worker.command
from benchmarks.chain import MODEL, TEXT
from benchmarks.peers.contextvqa import InstantEngine, NoDecoders, place
from benchmarks.slots import NUM_SLOTS, REQUEST_S_VARIABLE, ROOM_VARIABLE
from contextvqa import cli
from worker.engine import Written


class PacedEngine(InstantEngine):
    """Runs so many requests at once, each for so long, and notes how busy it was."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._request_s = float(os.environ[REQUEST_S_VARIABLE])
        self._room = int(os.environ[ROOM_VARIABLE])
        self._free = asyncio.Semaphore(self._room)
        self._num_running = self._num_here = 0
        #: Requests that it had each time when one began, those that waited included.
        self._numbers_here: list[int] = []
        self._random = random.Random(0)  # noqa: S311 - the same times in every run
        #: When each request began, and when it was to end.
        self._requests: list[tuple[float, float]] = []
        #: When all slots were taken for the first time.
        self._full_at: float | None = None

    @property
    def max_num_seqs(self) -> int:
        """Its slots."""
        return NUM_SLOTS

    @property
    def num_at_once(self) -> int:
        """As many as it was seen to run."""
        return self._capacity.at_once(num_sure=self._room // 4, num_slots=NUM_SLOTS)

    async def generate(self, **_: Any) -> Written:
        """Hold a slot for as long as a request takes."""
        self._num_here += 1
        async with self._free:
            begun_at = time.monotonic()
            held_s = self._request_s * self._random.uniform(0.5, 1.5)
            self._note_begin(begun_at, begun_at + held_s)
            await asyncio.sleep(held_s)
            self._num_running -= 1
        self._num_here -= 1
        return Written(text=TEXT, finish_reason="stop", prompt_tokens=200, output_tokens=250)

    def _note_begin(self, begun_at: float, to_end_at: float) -> None:
        self._num_running += 1
        self._capacity.note_step(self._num_running)
        self._requests.append((begun_at, to_end_at))
        if self._full_at is not None:
            self._numbers_here.append(self._num_here)
        elif self._free.locked():
            self._full_at = begun_at

    def stop(self) -> None:
        """Write down what it could have done and what it did, until there was no more to begin."""
        assert self._full_at is not None  # noqa: S101 - else nothing was measured
        begin, (end, _) = self._full_at, self._requests[-1]
        # A slot that is kept beyond the end of its request, because we come late, is idle.
        held_s = sum(
            max(0.0, min(end, to_end_at) - max(begin, begun_at))
            for begun_at, to_end_at in self._requests
        )
        num_begun = sum(begun_at > begin for begun_at, _ in self._requests)
        report = {
            "records_per_s": num_begun / (end - begin),
            "occupied_percent": 100 * held_s / (self._room * (end - begin)),
            "in_engine_percent": 100 * mean(self._numbers_here) / self._room,
        }
        (place.directory / "slots.json").write_bytes(orjson.dumps(report))


def main() -> int:
    """Be the worker, until the queue is empty."""
    with (
        mock.patch.object(worker.command, "VLLMEngine", PacedEngine),
        mock.patch.object(worker.command, "Decoders", NoDecoders),
    ):
        return cli.main(["worker", "--burst", "--model", MODEL, "--redis-url", place.redis_url])


if __name__ == "__main__":
    raise SystemExit(main())
