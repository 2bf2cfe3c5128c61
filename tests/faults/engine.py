"""
An engine that follows a script instead of a model, with the interface of `worker.engine.Engine`.

What it writes tells which image, prompt and seed it was given, so that a mix-up shows. A prompt may
carry a word in brackets, and the engine does what it says.
"""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from PIL import Image

from contextvqa.errors import Reason, RejectError, TransientError
from contextvqa.records import prompt_digest
from contextvqa.settings import Engine as EngineOptions
from contextvqa.settings import Sampling
from tests.faults.tally import Tally
from worker.engine import Engine, Written
from worker.engine_errors import EngineDiedError
from worker.pixel_budget import PixelShare, share_of
from worker.watch import TokenWatch

#: The name that runs and workers of the trials agree on.
MODEL = "scripted"

KILL, DIE, FAIL, REFUSE, HANG, BLOCK = "[kill]", "[die]", "[fail]", "[refuse]", "[hang]", "[block]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """How the engine behaves where no prompt says otherwise."""

    #: Shortest and longest time of a request, in seconds.
    latency_s: tuple[float, float] = (0.005, 0.04)
    max_num_seqs: int = 16
    #: Time that `start` takes, in seconds.
    start_s: float = 0.0
    #: Requests in flight at which the process gets a SIGTERM; 0 for never.
    stop_after: int = 0
    #: Counts the requests of a worker process.
    executed: Tally | None = None


def is_poor(seed: int) -> bool:
    """Whether what the engine writes has no pairs, so that the record needs another attempt."""
    return seed % 4 == 0


def scripted_text(colour: tuple[int, ...], prompt: str, seed: int) -> str:
    """Return what the engine writes, in a layout that the parser accepts unless it is poor."""
    article = (
        f"The plate {seed} shows the colour {colour} and hangs in room {prompt_digest(prompt)}.\n\n"
    )
    if is_poor(seed):
        return article
    return f"{article}Question: Which number does the plate bear?\nAnswer: {seed}\n"


class ScriptedEngine(Engine):
    """Writes at once, or does what the prompt says."""

    def __init__(
        self, model: str, options: EngineOptions, *, stall_timeout_s: float, script: Script
    ) -> None:
        super().__init__(model, options, stall_timeout_s=stall_timeout_s)
        self.script = script
        self.patience_s = stall_timeout_s
        self.watch = TokenWatch()
        self.num_begun = 0
        self.num_running = 0
        self.num_tokens = 0
        self._death: asyncio.Event | None = None

    @property
    def max_num_seqs(self) -> int:
        return self.script.max_num_seqs

    @property
    def num_at_once(self) -> int:
        return self.max_num_seqs

    def start(self) -> None:
        time.sleep(self.script.start_s)

    async def share_of_image(
        self,
        prompt: str,  # noqa: ARG002 - the interface
        sampling: Sampling,
        num_images: int,
        *,
        max_record_px: int,
    ) -> PixelShare:
        """As the real one for a model of no known kind and an empty prompt."""
        return share_of(
            num_images=num_images,
            max_record_px=max_record_px,
            tokens_left=self.options.max_model_len - sampling.max_tokens,
            grid=None,
        )

    async def generate(
        self,
        *,
        images: list[Image.Image],
        prompt: str,
        sampling: Sampling,  # noqa: ARG002 - the interface
        seed: int,
        request_id: str,  # noqa: ARG002
    ) -> Written:
        colour = images[0].getpixel((0, 0))
        assert isinstance(colour, tuple)
        self._death = self._death or asyncio.Event()
        self.num_begun += 1
        if self.script.executed is not None:
            self.script.executed.value += 1
        if self.num_begun == self.script.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        self.num_running += 1
        try:
            await self._work(prompt)
        finally:
            self.num_running -= 1
            self.num_tokens += 1
        if self._death.is_set():
            raise EngineDiedError("the engine died: as the script says")
        return Written(
            text=scripted_text(colour, prompt, seed),
            finish_reason="stop",
            prompt_tokens=1,
            output_tokens=2,
        )

    def check(self) -> None:
        """As the real one: a dead engine and one that writes nothing are beyond help."""
        stalled_s = self.watch.stalled_s(num_running=self.num_running, num_tokens=self.num_tokens)
        if stalled_s > self.patience_s:
            raise EngineDiedError(f"the engine hangs: no token for {stalled_s:.0f} s")

    def stop(self) -> None:
        """Nothing to end."""

    async def _work(self, prompt: str) -> None:
        assert self._death is not None
        await self._wait_or_die(random.uniform(*self.script.latency_s))
        if KILL in prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if DIE in prompt:
            self._death.set()
        if FAIL in prompt:
            raise TransientError("this request fails: as the script says")
        if REFUSE in prompt:
            raise RejectError(Reason.REQUEST_REFUSED, "refused: as the script says")
        if BLOCK in prompt:
            time.sleep(3600)  # noqa: ASYNC251 - as a library does that never comes back
        if HANG in prompt:
            await self._wait_or_die(3600)

    async def _wait_or_die(self, seconds: float) -> None:
        """As in vLLM, the death of the engine ends all of its requests at once."""
        assert self._death is not None
        try:
            async with asyncio.timeout(seconds):
                await self._death.wait()
        except TimeoutError:
            return


def factory(script: Script) -> Any:
    """Return what `worker.command` calls to make its engine."""
    return partial(ScriptedEngine, script=script)
