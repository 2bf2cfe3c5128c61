"""What the schema lets a model write, as vLLM's backend reads it."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from contextvqa.settings import Sampling
from refiner.parser.parsing import Parsed, parse
from worker.engine import sampling_parameters
from worker.output_schema import MAX_PAIRS, OUTPUT_SCHEMA, structured_outputs

PAIR = {"question": "What is it?", "answer": "a fox"}
FOX: dict[str, Any] = {"context": 'A "fox" is red.\n\nIt hides: {…}', "qas": [PAIR, PAIR]}


def takes(text: str) -> bool:
    """Whether a model may write this and end, asked of the backend byte by byte."""
    import llguidance  # noqa: PLC0415 - comes with vLLM

    # As vLLM asks for it.
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        json.dumps(OUTPUT_SCHEMA), defaults={"whitespace_flexible": True}
    )
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar)
    assert matcher.get_error() == ""
    tokens = list(text.encode())
    return bool(matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting())


def test_nothing_is_forced_on_a_run_in_text() -> None:
    assert structured_outputs(Sampling()) is None


def test_a_run_in_json_forces_the_schema_and_is_sampled_alike_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vllm = SimpleNamespace(
        SamplingParams=dict,
        StructuredOutputsParams=dict,
        RequestOutputKind=SimpleNamespace(FINAL_ONLY="final only"),
    )
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", vllm)

    text = sampling_parameters(Sampling(temperature=0.3), 7)
    forced = sampling_parameters(Sampling(temperature=0.3, output_mode="json"), 7)

    assert text["structured_outputs"] is None
    assert forced == text | {"structured_outputs": {"json": OUTPUT_SCHEMA}}


@pytest.mark.vllm
@pytest.mark.parametrize("num_pairs", [1, 2, MAX_PAIRS])
def test_an_object_on_one_line_is_what_a_model_may_write_and_what_the_parser_reads(
    num_pairs: int,
) -> None:
    text = json.dumps({**FOX, "qas": [PAIR] * num_pairs}, ensure_ascii=False)

    parsed = parse(text)

    assert takes(text)
    assert isinstance(parsed, Parsed)
    assert len(parsed.context_vqa.qas) == num_pairs


@pytest.mark.vllm
@pytest.mark.parametrize(
    "text",
    [
        "A fox is red.",
        json.dumps({**FOX, "qas": []}),
        json.dumps({**FOX, "qas": [PAIR] * (MAX_PAIRS + 1)}),
        json.dumps({**FOX, "context": ""}),
        json.dumps({**FOX, "title": "Fox"}),
        json.dumps({**FOX, "qas": [{**PAIR, "reason": "fur"}]}),
        json.dumps({**FOX, "qas": [{"question": "What is it?"}]}),
        json.dumps({"qas": [PAIR], "context": "A fox is red."}),
    ],
)
def test_anything_else_cannot_be_written(text: str) -> None:
    assert not takes(text)


@pytest.mark.vllm
@pytest.mark.parametrize("layout", [{"indent": 2}, {"separators": (",", ":")}])
def test_between_values_there_is_no_room_for_spaces_without_end_nor_for_none(
    layout: dict[str, Any],
) -> None:
    assert not takes(json.dumps(FOX, **layout))
    assert not takes(json.dumps(FOX).replace(": ", ":  "))
    assert not takes(json.dumps(FOX) + "\n")
