"""
The way of the pipeline that this project follows, OpenDCAI's DataFlow-MM, written anew from its steps.

It opens every image into memory, applies the processor's chat template to each request, gives all
of them to one `LLM.generate` with seed 42, reads pairs line by line, and writes one file at the end.
Its parser is worse than ours and quicker; what counts here is the flow.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from benchmarks.feeds.chat import load as load_llm
from benchmarks.feeds.program import SAMPLING, Model, Request, main, messages
from worker.engine import sampling_parameters

SEED = 42
QUESTION, ANSWER = "Question:", "Answer:"


@contextmanager
def load(model: Model) -> Iterator[tuple[Any, Any]]:
    """Load the engine, and the processor for its chat template."""
    with load_llm(model) as llm:
        from transformers import AutoProcessor  # noqa: PLC0415 - takes seconds, and vLLM before it

        yield llm, AutoProcessor.from_pretrained(str(model.path))


def plan(
    loaded: tuple[Any, Any], requests: Sequence[Request], directory: Path
) -> Callable[[], Iterable[Any]]:
    """Return all of it: nothing is done beforehand."""
    return lambda: run(*loaded, requests, directory)


def run(llm: Any, processor: Any, requests: Sequence[Request], directory: Path) -> list[Any]:
    """Do one step for all, then the next."""
    images = [request.open_image() for request in requests]
    prompts = [
        {
            "prompt": processor.apply_chat_template(
                messages(request, {"type": "image"}), tokenize=False, add_generation_prompt=True
            ),
            "multi_modal_data": {"image": image},
        }
        for request, image in zip(requests, images, strict=True)
    ]
    outputs: list[Any] = llm.generate(prompts, sampling_parameters(SAMPLING, SEED), use_tqdm=False)
    rows = [
        {"image": [str(request.image)], "vqa": text, "context_vqa": parse(text)}
        for request, text in zip(
            requests, (output.outputs[0].text for output in outputs), strict=True
        )
    ]
    (directory / "out.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    return outputs


def parse(text: str) -> dict[str, Any]:
    """Take lines that begin as a question or an answer for one, and the rest for the article."""
    context: list[str] = []
    pairs: list[dict[str, str]] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith(QUESTION):
            pairs.append({"question": line.removeprefix(QUESTION).strip(), "answer": ""})
        elif line.startswith(ANSWER) and pairs:
            pairs[-1]["answer"] = line.removeprefix(ANSWER).strip()
        elif not pairs:
            context.append(line)
    return {"context": "\n".join(context).strip(), "qas": pairs}


if __name__ == "__main__":
    main(load, plan)
