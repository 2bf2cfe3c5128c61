"""
The loop of `async_llm`, with `--prompt-order image-first`, the default.

All texts get the same length, whatever the model would write: it has learned one order, and in the
other one its texts would be longer or shorter, which is not what is compared.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.feeds.async_llm import generate_all, load
from benchmarks.feeds.program import SAMPLING, Request, main, messages
from contextvqa.settings import PromptOrder
from worker.engine import sampling_parameters

#: Length of every text, about what the model writes by itself.
OUTPUT_TOKENS = 160


def plan(
    llm: Any, requests: Sequence[Request], _: Path, *, order: PromptOrder = "image-first"
) -> Callable[[], Iterable[Any]]:
    """Open all images, and return the loop."""
    sampling = replace(SAMPLING, prompt_order=order)
    conversations = [
        messages(request, {"type": "image_pil", "image_pil": request.open_image()}, sampling)
        for request in requests
    ]
    parameters = [parameters_of(request) for request in requests]
    return lambda: asyncio.run(generate_all(llm, conversations, parameters))


def parameters_of(request: Request) -> Any:
    """Return the worker's sampling, with texts of one length."""
    parameters = sampling_parameters(replace(SAMPLING, max_tokens=OUTPUT_TOKENS), request.seed)
    parameters.ignore_eos = True
    return parameters


if __name__ == "__main__":
    main(load, plan)
