"""What `--output-mode json` has the model write: an object that vLLM's structured outputs force."""

from typing import Any

from contextvqa.settings import Sampling

#: Most pairs of one text. The prompt names no number: this ends a model that goes round in circles.
MAX_PAIRS = 20

#: Said after the prompt. A model does not see what is forced on it: one that knows of no place for
#: pairs would write them into the article, and one that would break lines ends its list too soon.
JSON_REQUEST = (
    "Reply in JSON, on one line: "
    '{"context": "the article", "qas": [{"question": "…", "answer": "…"}, …]}'
)

# At least a character: an article or an answer of none would make no record.
_TEXT = {"type": "string", "minLength": 1}
_PAIR = {
    "type": "object",
    "properties": {"question": _TEXT, "answer": _TEXT},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
#: Properties are written in this order, so that the pairs come of an article that is there.
OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "context": _TEXT,
        "qas": {"type": "array", "items": _PAIR, "minItems": 1, "maxItems": MAX_PAIRS},
    },
    "required": ["context", "qas"],
    "additionalProperties": False,
    # One line, spaced as models have read it. Where any number of spaces may stand, a model may
    # write nothing else to its last token; where none may, a model that is used to `": "` takes it
    # for the value.
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
}
#: The backend that reads `x-guidance`, and refuses a tokenizer before the engine has the request.
BACKEND = "guidance"


def structured_outputs(sampling: Sampling) -> Any:
    """Return what vLLM is to force on a text, None for nothing. vLLM must have been loaded."""
    if sampling.output_mode == "text":
        return None
    from vllm.sampling_params import StructuredOutputsParams  # noqa: PLC0415 - takes seconds

    return StructuredOutputsParams(json=OUTPUT_SCHEMA)
