"""What the engine's check makes of what vLLM says of itself; the real one is in acceptance."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from contextvqa.errors import CrashError
from contextvqa.settings import Engine as Options
from worker import watch
from worker.engine import Engine
from worker.engine_errors import EngineDiedError


class StandInLLM:
    """Has the part of AsyncLLM that is looked at; its requests get tokens when told to."""

    def __init__(self) -> None:
        self.errored = False
        self.tokens: list[int] = []
        detokenizer = SimpleNamespace(num_output_tokens=lambda: len(self.tokens))
        self.states = {"r": SimpleNamespace(detokenizer=detokenizer)}
        self.output_processor = SimpleNamespace(request_states={})
        self.has_ended = asyncio.Event()

    async def generate(self, *_: object) -> AsyncIterator[Any]:
        self.output_processor.request_states = self.states
        try:
            await self.has_ended.wait()
        finally:
            self.output_processor.request_states = {}
        yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.tokens)])


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(watch, "MAX_GAP_S", 1e9)
    engine = Engine("m", Options(), stall_timeout_s=120)
    engine._watch = watch.TokenWatch(lambda: clock_s[0])
    return engine


clock_s = [0.0]


def look_after(engine: Engine, seconds: float) -> None:
    clock_s[0] += seconds
    engine.check()


def test_an_engine_that_is_not_loaded_yet_or_stopped_is_well(engine: Engine) -> None:
    look_after(engine, 1000)


def test_an_idle_engine_whose_process_is_gone_is_a_crash(engine: Engine) -> None:
    engine._llm = StandInLLM()
    look_after(engine, 1000)

    engine._llm.errored = True

    with pytest.raises(EngineDiedError, match="the engine of model 'm' died") as caught:
        look_after(engine, 3)
    assert isinstance(caught.value, CrashError)


def test_running_requests_that_get_no_token_for_too_long_are_a_crash(engine: Engine) -> None:
    async def hang() -> None:
        engine._llm = llm = StandInLLM()
        request = asyncio.create_task(engine._final_output(None, None, "r"))
        await asyncio.sleep(0)
        look_after(engine, 100)
        llm.tokens.append(1)
        look_after(engine, 100)
        look_after(engine, 119)

        with pytest.raises(EngineDiedError, match="no token for 121 s with 1 requests running"):
            look_after(engine, 2)

        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        look_after(engine, 1000)

    asyncio.run(hang())


def test_a_request_that_has_ended_was_no_stall_and_none_begins_with_the_next(
    engine: Engine,
) -> None:
    async def go_on() -> None:
        engine._llm = llm = StandInLLM()
        llm.tokens += [1, 2]
        llm.has_ended.set()
        for _ in range(3):
            await engine._final_output(None, None, "r")
            look_after(engine, 119)

    asyncio.run(go_on())
