"""What becomes of a record whose text was judged: a line, another attempt, or the best of all."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from contextvqa.errors import Reason
from contextvqa.gates import Quality
from contextvqa.records import Generation, ImageRecord, Rejection, to_payload
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from contextvqa.storage.sink import Line
from refiner.conclusion import conclude, conclude_rejected
from tests.support import generation_of

RECORD = ImageRecord(
    run="r", key="0" * 32, id=7, image=("fr.png",), prompt_digest="0123456789abcdef"
)
ARTICLE = "Paris has been the capital of France since the days of the Capetian kings."
POOR = f"{ARTICLE}\n"


def text(num_pairs: int) -> str:
    pairs = (
        ("Which city is the seat of government?", "Paris"),
        ("Which dynasty made it so?", "Capetian kings"),
        ("Which state is governed from there?", "France"),
    )
    return POOR + "".join(f"\nQuestion: {q}\nAnswer: {a}\n" for q, a in pairs[:num_pairs])


def config(sampling: Sampling | None = None, **quality: int) -> RunConfig:
    asked = Quality(**quality)  # type: ignore[arg-type]
    return RunConfig.new("r", "m", sampling or Sampling(), asked)


def again(generation: Generation, run: RunConfig) -> ImageRecord:
    record = conclude(generation, run)
    assert isinstance(record, ImageRecord)
    return record


def line_of(conclusion: Line | ImageRecord) -> dict[str, Any]:
    assert isinstance(conclusion, Line)
    line: dict[str, Any] = orjson.loads(conclusion.data)
    return line | {"is_result": conclusion.is_result}


def test_a_good_text_is_a_result_at_its_first_attempt() -> None:
    line = line_of(conclude(generation_of(RECORD, text(1)), config()))

    assert line["is_result"]
    assert not {"earlier", "later"} & line["meta"].keys()


def test_a_poor_text_sends_the_record_back_with_what_was_wrong() -> None:
    record = again(generation_of(RECORD, POOR), config())

    assert record.attempt == 2
    assert [(tried.attempt, tried.text, tried.reason) for tried in record.earlier] == [
        (1, POOR, Reason.PARSE_NO_PAIRS)
    ]


def test_when_no_attempt_is_left_the_reject_carries_all_raw_texts() -> None:
    run = config(max_attempts=3)
    record = again(generation_of(RECORD, POOR), run)
    record = again(generation_of(record, ""), run)

    line = line_of(conclude(generation_of(record, "Sorry."), run))

    assert not line["is_result"]
    assert (line["attempts"], line["vqa"]) == (3, "Sorry.")
    assert line["meta"]["worker"] == "w"
    earlier = line["meta"]["earlier"]
    assert [(tried["attempt"], tried["text"], tried["reason"]) for tried in earlier] == [
        (1, POOR, "parse.no_pairs"),
        (2, "", "parse.empty"),
    ]


def lived(num_pairs: tuple[int, ...], run: RunConfig) -> Line | ImageRecord:
    """Conclude one attempt after the other; return what became of the last."""
    conclusion: Line | ImageRecord = RECORD
    for count in num_pairs:
        assert isinstance(conclusion, ImageRecord)
        conclusion = conclude(generation_of(conclusion, text(count)), run)
    return conclusion


@pytest.mark.parametrize(
    ("num_pairs", "winner"), [((1, 2, 0), 2), ((2, 1, 1), 1), ((0, 0, 1), 3), ((1, 3), 2)]
)
def test_the_attempt_with_most_pairs_wins(num_pairs: tuple[int, ...], winner: int) -> None:
    line = line_of(lived(num_pairs, config(enough_pairs=3, max_attempts=3)))

    assert line["is_result"]
    assert line["meta"]["attempt"] == winner
    assert len(line["meta"].get("earlier", ())) == winner - 1
    assert len(line["meta"].get("later", ())) == len(num_pairs) - winner


@pytest.mark.parametrize(("num_pairs", "winner"), [((2, 2, 0), 2), ((1, 1, 1), 3)])
def test_of_equal_attempts_the_latest_wins_wherever_it_stands(
    num_pairs: tuple[int, ...], winner: int
) -> None:
    line = line_of(lived(num_pairs, config(enough_pairs=3, max_attempts=3)))

    assert line["meta"]["attempt"] == winner


def failed(record: ImageRecord) -> Rejection:
    return Rejection(record=record, stage="generate", reason=Reason.IMAGE_NOT_FOUND, message="gone")


def test_an_earlier_attempt_that_makes_a_record_survives_the_failure_of_a_later_one() -> None:
    run = config(enough_pairs=2)

    record = again(generation_of(RECORD, text(1)), run)
    assert line_of(conclude_rejected(failed(record), run))["is_result"]
    record = again(generation_of(RECORD, POOR), run)
    assert not line_of(conclude_rejected(failed(record), run))["is_result"]


def test_of_equal_earlier_attempts_the_latest_wins_when_the_last_fails() -> None:
    run = config(enough_pairs=3, max_attempts=3)
    record = lived((1, 1), run)
    assert isinstance(record, ImageRecord)

    line = line_of(conclude_rejected(failed(record), run))

    assert line["meta"]["attempt"] == 2


def test_the_line_of_an_attempt_that_won_holds_all_others_whole() -> None:
    run = config(enough_pairs=3, max_attempts=4)
    record = lived((0, 2, 1), run)
    assert isinstance(record, ImageRecord)

    meta = line_of(conclude_rejected(failed(record), run))["meta"]

    whole = to_payload(generation_of(RECORD, "").written)
    assert meta["earlier"] == [whole | {"text": text(0), "attempt": 1, "reason": "parse.no_pairs"}]
    poorer, lost = meta["later"]
    assert poorer["written"] == whole | {"text": text(1)}
    assert (poorer["attempt"], poorer["stage"], poorer["reason"]) == (3, "refine", "gate.min_pairs")
    assert lost == {
        "attempt": 4,
        "stage": "generate",
        "reason": "image.not_found",
        "message": "gone",
        "written": None,
        "failed": None,
    }


def test_a_greedy_model_is_not_asked_for_the_same_text_again() -> None:
    greedy = config(Sampling(temperature=0.0))
    assert isinstance(conclude(generation_of(RECORD, POOR), greedy), Line)


def test_an_attempt_answers_to_what_was_wrong_with_the_last() -> None:
    sampling = Sampling(temperature=0.0, max_tokens_after_cut=900, temperature_after_loop=1.1)
    run = config(sampling, max_attempts=4)
    cut = replace(generation_of(RECORD, POOR), finish_reason="length")

    record = again(cut, run)
    assert run.sampling_of(record) == replace(sampling, max_tokens=900)
    # Greedy with as many tokens as before would write the same.
    assert isinstance(
        conclude(replace(generation_of(record, POOR), finish_reason="length"), run), Line
    )

    loop = generation_of(RECORD, "The sea is blue and wide. " * 60 + text(1))
    record = again(loop, run)
    assert record.earlier[-1].reason == Reason.GATE_REPETITION
    assert run.sampling_of(record) == replace(sampling, temperature=1.1)


def test_attempts_travel_through_redis_whole() -> None:
    record = again(generation_of(RECORD, POOR), config())
    assert to_payload(record)["earlier"][0]["text"] == POOR
