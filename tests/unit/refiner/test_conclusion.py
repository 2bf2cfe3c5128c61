"""What becomes of a record whose text was judged: a line, another attempt, or the best of all."""

from dataclasses import replace

import orjson
import pytest

from contextvqa.errors import Reason
from contextvqa.gates import Quality
from contextvqa.records import Generation, ImageRecord, Rejection, to_payload
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from contextvqa.sink import Line
from refiner.conclusion import conclude, conclude_rejected
from tests.support import generation_of

RECORD = ImageRecord(run="r", key="0" * 32, id=7, image=("fr.png",), prompt_digest="d")
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


def line_of(conclusion: Line | ImageRecord) -> dict[str, object]:
    assert isinstance(conclusion, Line)
    line: dict[str, object] = orjson.loads(conclusion.data)
    return line | {"is_result": conclusion.is_result, "meta": line["meta"]}


def test_a_good_text_is_a_result_at_its_first_attempt() -> None:
    line = line_of(conclude(generation_of(RECORD, text(1)), config()))

    assert line["is_result"]
    assert "earlier" not in line["meta"]  # type: ignore[operator]


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
    meta = line["meta"]
    assert isinstance(meta, dict)
    assert [(tried["attempt"], tried["text"], tried["reason"]) for tried in meta["earlier"]] == [
        (1, POOR, "parse.no_pairs"),
        (2, "", "parse.empty"),
    ]


@pytest.mark.parametrize(
    ("num_pairs", "winner"), [((1, 2, 0), 2), ((2, 1, 1), 1), ((0, 0, 1), 3), ((1, 3, 3), 2)]
)
def test_the_attempt_with_most_pairs_wins(num_pairs: tuple[int, ...], winner: int) -> None:
    run = config(enough_pairs=3, max_attempts=3)
    record: ImageRecord = RECORD
    for count in num_pairs:
        conclusion = conclude(generation_of(record, text(count)), run)
        if isinstance(conclusion, Line):
            break
        record = conclusion

    line = line_of(conclusion)

    assert line["is_result"]
    meta = line["meta"]
    assert isinstance(meta, dict)
    assert meta["attempt"] == winner
    assert len(meta.get("earlier", ())) == winner - 1


def test_an_earlier_attempt_that_makes_a_record_survives_the_failure_of_a_later_one() -> None:
    run = config(enough_pairs=2)
    record = again(generation_of(RECORD, text(1)), run)
    rejection = Rejection(
        record=record, stage="generate", reason=Reason.IMAGE_NOT_FOUND, message="gone"
    )

    assert line_of(conclude_rejected(rejection, run))["is_result"]
    poor = replace(rejection, record=again(generation_of(RECORD, POOR), run))
    assert not line_of(conclude_rejected(poor, run))["is_result"]


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
