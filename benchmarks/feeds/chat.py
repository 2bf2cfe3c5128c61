"""vLLM's own batch interface: `LLM.chat` with all requests in one call, as its documentation has it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.feeds.program import SAMPLING, Model, Request, main, messages
from worker.engine import sampling_parameters


@contextmanager
def load(model: Model) -> Iterator[Any]:
    """Load the engine, which lives in this process."""
    arguments = model.engine_arguments()
    from vllm import LLM  # noqa: PLC0415 - takes seconds, and what stands above before it

    yield LLM(**arguments)


def plan(llm: Any, requests: Sequence[Request], _: Path) -> Callable[[], Iterable[Any]]:
    """Open all images, and return the one call."""
    conversations = [
        messages(request, {"type": "image_pil", "image_pil": request.open_image()})
        for request in requests
    ]
    parameters = [sampling_parameters(SAMPLING, request.seed) for request in requests]
    return partial(llm.chat, conversations, parameters, use_tqdm=False)


if __name__ == "__main__":
    main(load, plan)
