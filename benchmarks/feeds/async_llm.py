"""
A bare loop around `AsyncLLM`: a task per request, all at once, with images that are open already.

It renders prompts as our worker does, and has no queue, no decoding, no parsing and no file: what
the engine can be fed at most.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.feeds.program import SAMPLING, Model, Request, main, messages
from contextvqa.settings import Sampling
from worker.engine import sampling_parameters


@contextmanager
def load(model: Model) -> Iterator[Any]:
    """Load the engine; end its process afterwards."""
    arguments = model.engine_arguments()
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - takes seconds
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    yield llm
    llm.shutdown()


def plan(
    llm: Any, requests: Sequence[Request], _: Path, *, sampling: Sampling = SAMPLING
) -> Callable[[], Iterable[Any]]:
    """Open all images, and return the loop."""
    conversations = [
        messages(request, {"type": "image_pil", "image_pil": request.open_image()}, sampling)
        for request in requests
    ]
    parameters = [sampling_parameters(sampling, request.seed) for request in requests]
    return lambda: asyncio.run(generate_all(llm, conversations, parameters))


async def generate_all(
    llm: Any, conversations: Sequence[Any], parameters: Sequence[Any]
) -> list[Any]:
    """Return the output of each request."""
    return await asyncio.gather(
        *(
            _generate(llm, conversation, asked, str(number))
            for number, (conversation, asked) in enumerate(
                zip(conversations, parameters, strict=True)
            )
        )
    )


async def _generate(llm: Any, conversation: Any, parameters: Any, request_id: str) -> Any:
    from vllm.renderers import ChatParams  # noqa: PLC0415 - loaded by load()

    template = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
    _, (prompt,) = await llm.renderer.render_chat_async([conversation], template)
    async for output in llm.generate(prompt, parameters, request_id):
        last = output
    return last


if __name__ == "__main__":
    main(load, plan)
