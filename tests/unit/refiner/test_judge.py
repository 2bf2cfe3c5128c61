"""The judge: what each action does, what decides, and what `meta.checks` says of it."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from contextvqa.errors import Reason
from contextvqa.gates import Action, Quality, read_actions
from contextvqa.records import ImageRecord
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from contextvqa.storage.sink import Line
from refiner.conclusion import conclude
from tests.support import generation_of

DATA = Path(__file__).parents[2] / "data"
#: What the flags model wrote of the first 48 drawings that `examples.flags.evaluate` makes.
FLAGS = [orjson.loads(line) for line in (DATA / "flags_texts.jsonl").read_bytes().splitlines()]
#: Clean texts in many layouts.
LAYOUTS = {
    path.stem: path.read_bytes().decode()
    for path in sorted((DATA / "raw_texts").glob("*.txt"))
    if not path.stem.startswith(("fails_", "cut_"))
}

RECORD = ImageRecord(
    run="r", key="0" * 32, id=1, image=("a.png",), prompt_digest="0123456789abcdef"
)
TEXT = """# Eiffel Tower

The Eiffel Tower is a wrought-iron lattice tower in Paris, the capital of France.{more} It was completed in 1889 and is 330 metres tall.

## Question Answer Pairs

1. Question: In which city does this structure stand?
   Answer: Paris
2. Question: When was the Eiffel Tower completed?
   Answer: 1889
3. Question: Is this structure tall?
   Answer: Yes
"""
PAINTING = " It is the subject of a painting."


def refined(
    text: str = TEXT.format(more=""), quality: Quality | None = None, finish_reason: str = "stop"
) -> tuple[dict[str, object], dict[str, object], bool]:
    """Return the line, its checks, and whether it is a result."""
    generation = replace(generation_of(RECORD, text), finish_reason=finish_reason)
    once = replace(quality or Quality(), max_attempts=1)
    line = conclude(generation, RunConfig.new("r", "m", Sampling(), once))
    assert isinstance(line, Line)
    fields = orjson.loads(line.data)
    return fields, fields["meta"].get("checks"), line.is_result


def preset(name: str, *changes: str, min_pairs: int = 1) -> Quality:
    return Quality(actions=read_actions(name, changes), min_pairs=min_pairs)


def answers(fields: dict[str, object]) -> list[str]:
    return [qa["answer"] for qa in fields["context_vqa"]["qas"]]  # type: ignore[index]


def test_a_pair_is_dropped_or_flagged_and_the_checks_say_which_and_why() -> None:
    fields, checks, is_result = refined()

    assert is_result
    assert answers(fields) == ["Paris", "Yes"]
    assert checks == {
        "gate.entity_named": [{"pair": 1, "action": "drop", "evidence": "eiffel tower"}],
        "gate.cap": [{"pair": 2, "action": "flag", "evidence": "Yes"}],
        "kept": [0, 2],
        "spans": [[[52, 57]], [None]],
    }


def test_a_clean_record_has_only_the_spans_of_its_answers() -> None:
    text = TEXT.format(more="").split("2. Question")[0]

    fields, checks, _ = refined(text)

    assert checks == {"spans": [[[52, 57]]]}
    assert fields["context_vqa"]["context"][52:57] == "Paris"  # type: ignore[index]


def test_a_gate_that_is_off_finds_nothing() -> None:
    fields, checks, is_result = refined(quality=preset("off"), finish_reason="length")

    assert is_result
    assert answers(fields) == ["Paris", "1889", "Yes"]
    assert checks == {}


def test_an_article_that_fails_rejects_the_record_with_reason_message_and_checks() -> None:
    text = TEXT.format(more=PAINTING)
    assert refined(text)[2]

    fields, checks, is_result = refined(text, preset("default", "ir=drop"))

    assert not is_result
    assert fields["reason"] == Reason.GATE_IR
    assert fields["message"] == (
        "The article has a word of SK-VQA's list: is the subject of a painting. It was completed i"
    )
    assert fields["vqa"] == text
    assert checks["gate.ir"][0]["action"] == "drop"  # type: ignore[index]
    assert set(checks) == {"gate.ir", "gate.entity_named", "gate.cap", "kept", "spans"}


def test_the_first_gate_of_the_table_decides() -> None:
    text = TEXT.format(more=PAINTING + " See [1].")

    fields, _, _ = refined(text, preset("default", "ir=drop", "markup=drop"))

    assert fields["reason"] == Reason.GATE_MARKUP


@pytest.mark.parametrize(("min_pairs", "is_accepted"), [(2, True), (3, False)])
def test_too_few_pairs_after_the_gates_reject_the_record(
    min_pairs: int, *, is_accepted: bool
) -> None:
    fields, _, is_result = refined(quality=Quality(min_pairs=min_pairs))

    assert is_result is is_accepted
    if not is_accepted:
        assert fields["reason"] == Reason.GATE_MIN_PAIRS
        assert fields["message"] == (
            "2 pairs passed, expected 3 or more; dropped by entity_named 1."
        )


def test_too_few_pairs_to_begin_with_are_said_so() -> None:
    fields, checks, _ = refined(quality=preset("off", min_pairs=4))

    assert fields["message"] == (
        "3 pairs passed, expected 4 or more; dropped by none: the text has no more."
    )
    assert checks is None


def test_the_papers_presets_filter_as_the_paper_does_and_do_nothing_else() -> None:
    painted = TEXT.format(more=PAINTING)

    assert refined(painted, preset("sk-vqa-ir"))[0]["reason"] == "gate.ir"
    assert answers(refined(quality=preset("sk-vqa-ir"))[0]) == ["Paris", "1889", "Yes"]
    assert refined(painted, preset("sk-vqa-ir-cap"))[0]["reason"] == "gate.ir"
    assert answers(refined(quality=preset("sk-vqa-ir-cap"))[0]) == ["Paris", "1889"]


def test_a_pair_asked_again_is_kept_when_the_first_was_dropped() -> None:
    text = TEXT.format(more="").replace("Answer: 1889", "Answer: 1889 and 1890")
    text = (
        text.replace("the Eiffel Tower", "it")
        + "4. Question: When was it completed?\n   Answer: 1889"
    )

    fields, _, _ = refined(text)

    assert answers(fields) == ["Paris", "Yes", "1889"]


def test_a_truncated_text_is_flagged_and_dropped_when_asked_for() -> None:
    assert refined(finish_reason="length")[1]["gate.truncated"] == [  # type: ignore[index]
        {"action": "flag", "evidence": "max_tokens"}
    ]
    dropped = refined(quality=preset("off", "truncated=drop"), finish_reason="length")
    assert dropped[0]["reason"] == "gate.truncated"


def test_a_text_that_cannot_be_parsed_is_not_judged() -> None:
    fields, checks, _ = refined("Paris is a city.")

    assert fields["reason"] == "parse.no_pairs"
    assert checks is None


def test_a_run_that_was_begun_without_a_gate_gets_its_default() -> None:
    fields, _, _ = refined(quality=Quality(actions={"cap": Action.DROP}))

    assert answers(fields) == ["Paris"]


def test_what_the_flags_model_writes_passes_but_for_questions_asked_twice() -> None:
    lines = [refined(row["vqa"], finish_reason=row["finish_reason"]) for row in FLAGS]

    assert all(is_result for _, _, is_result in lines)
    found = {name for _, checks, _ in lines for name in checks if name.startswith("gate.")}  # type: ignore[union-attr]
    assert found == {"gate.duplicate_question"}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_clean_texts_of_every_layout_are_accepted_whole(text: str) -> None:
    _, checks, is_result = refined(text)

    assert is_result
    dropped = checks.keys() & {"gate.duplicate_question"}  # type: ignore[union-attr]
    assert dropped or "kept" not in checks  # type: ignore[operator]
