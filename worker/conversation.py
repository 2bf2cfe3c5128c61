"""What the model is asked, as the conversation that its own chat template renders."""

from collections.abc import Sequence
from typing import Any

from contextvqa.settings import Sampling
from worker.output_schema import JSON_REQUEST

#: Of a vLLM chat message: what it consists of, in order.
Part = dict[str, Any]


def conversation(images: Sequence[Part], prompt: str, sampling: Sampling) -> list[dict[str, Any]]:
    """Return the system's turn and the user's, whose images and text are in the run's order."""
    asked = f"{prompt}\n{JSON_REQUEST}" if sampling.output_mode == "json" else prompt
    text = {"type": "text", "text": asked}
    is_text_first = sampling.prompt_order == "text-first"
    content = [text, *images] if is_text_first else [*images, text]
    return [
        {"role": "system", "content": sampling.system_prompt},
        {"role": "user", "content": content},
    ]
