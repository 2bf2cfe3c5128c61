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
from typing import Any

from PIL import Image

from contextvqa.errors import Reason, RejectError, TransientError
from contextvqa.records import prompt_digest
from contextvqa.settings import Engine as EngineOptions
from contextvqa.settings import Sampling
from worker.engine import Engine, EngineDiedError, Written

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


def scripted_text(colour: tuple[int, ...], prompt: str, seed: int) -> str:
    """Return what the engine writes, in a layout that the parser accepts."""
    return (
        f"The plate {seed} shows the colour {colour} and hangs in room {prompt_digest(prompt)}.\n\n"
        f"Question: Which number does the plate bear?\nAnswer: {seed}\n"
    )


class ScriptedEngine(Engine):
    """Writes at once, or does what the prompt says."""

    def __init__(self, model: str, options: EngineOptions, script: Script) -> None:
        super().__init__(model, options)
        self.script = script
        self._death: asyncio.Event | None = None

    @property
    def max_num_seqs(self) -> int:
        return self.script.max_num_seqs

    def start(self) -> None:
        time.sleep(self.script.start_s)

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
        await self._work(prompt)
        if self._death.is_set():
            raise EngineDiedError("the engine died: as the script says")
        return Written(
            text=scripted_text(colour, prompt, seed),
            finish_reason="stop",
            prompt_tokens=1,
            output_tokens=2,
        )

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
    return lambda model, options: ScriptedEngine(model, options, script)
