"""Lines judged again: by the same gates nothing changes, by others the best of all attempts wins."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from contextvqa.errors import Reason, RunError
from contextvqa.gates import Action, Quality
from contextvqa.records import ImageRecord, Rejection, derive_seed
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from contextvqa.storage.sink import Line
from refiner.conclusion import conclude, conclude_rejected
from refiner.replay.replaying import Item, Replay
from tests.support import generation_of

RECORD = ImageRecord(
    run="old",
    key="0" * 32,
    id=7,
    image=("fr.png",),
    prompt_digest="0123456789abcdef",
    prompt="Write.",
)
ARTICLE = (
    "Paris has been the capital of France since the days of the Capetian kings, who chose it for "
    "its place on the river and for the roads that met there."
)
#: The second has an answer that the article lacks, as the gate `cap` sees.
PAIRS = (
    ("Which city is the seat of government?", "Paris"),
    ("Which river runs through it?", "Seine"),
    ("Which dynasty made it so?", "Capetian kings"),
)
LOST = (Reason.IMAGE_NOT_FOUND, "gone")


def text(*numbers: int) -> str:
    pairs = "".join(f"\nQuestion: {q}\nAnswer: {a}\n" for q, a in map(PAIRS.__getitem__, numbers))
    return f"{ARTICLE}\n{pairs}"


def begun(**quality: Any) -> RunConfig:
    return RunConfig.new("old", "m", Sampling(), Quality(**quality))


def lived(run: RunConfig, *attempts: str | None) -> dict[str, Any]:
    """Return the line of a record of these texts, where None is an image that is gone."""
    end: Line | ImageRecord = RECORD
    for written in attempts:
        assert isinstance(end, ImageRecord)
        if written is None:
            reason, message = LOST
            rejection = Rejection(record=end, stage="generate", reason=reason, message=message)
            end = conclude_rejected(rejection, run)
        else:
            end = conclude(generation_of(end, written), run)
    assert isinstance(end, Line)
    line: dict[str, Any] = orjson.loads(end.data)
    return line


def replayed(
    line: dict[str, Any], run: RunConfig, **quality: Any
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the new line, and the reasons of each change."""
    config = run.reparsed("new", replace(run.quality, **quality))
    answer = Replay(run, config)([Item(orjson.dumps(line))])
    (new,) = answer.lines
    changes: dict[str, list[str]] = {}
    for (change, reason), found in answer.comparison.reasons.items():
        assert (found.count, found.examples) == (1, [7])
        changes.setdefault(change, []).append(reason)
    assert answer.comparison.changed == bool(changes)
    return orjson.loads(new.data), changes


def with_action(gate: str, action: Action) -> dict[str, Action]:
    return Quality().actions | {gate: action}


@pytest.mark.parametrize(
    "attempts",
    [
        (text(0),),
        ("", text(0)),
        ("", text(0, 1), text(0)),
        (text(0), text(2), None),
        ("", "Sorry.", ""),
        ("Sorry.", None),
        (None,),
    ],
)
def test_by_the_same_gates_every_line_is_what_it_was_but_for_its_runs_name(
    attempts: tuple[str | None, ...],
) -> None:
    is_long = len(attempts) == 3
    run = begun(max_attempts=3, enough_pairs=3) if is_long else begun(max_attempts=len(attempts))
    line = lived(run, *attempts)

    new, changes = replayed(line, run)

    assert changes == {}
    line["meta"]["run"] = "new"
    assert new == line
    assert list(new["meta"]) == list(line["meta"])


def test_a_stricter_gate_drops_pairs_and_is_named() -> None:
    run = begun()
    new, changes = replayed(lived(run, text(0, 1)), run, actions=with_action("cap", Action.DROP))

    assert [pair["answer"] for pair in new["context_vqa"]["qas"]] == ["Paris"]
    assert changes == {"pairs": ["gate.cap"]}


def test_a_record_that_fails_stricter_gates_becomes_a_reject_that_can_be_retried() -> None:
    run = begun()
    new, changes = replayed(lived(run, text(0)), run, min_pairs=2)

    assert (new["reason"], new["attempts"], new["vqa"]) == ("gate.min_pairs", 1, text(0))
    assert (new["meta"]["prompt"], new["meta"]["worker"]) == ("Write.", "w")
    assert changes == {"result_to_reject": ["gate.min_pairs"]}


def test_a_reject_becomes_the_result_of_its_best_attempt_by_looser_gates() -> None:
    run = begun(min_pairs=3, max_attempts=3)
    line = lived(run, text(0), text(0, 1), "")
    assert line["reason"] == "parse.empty"

    new, changes = replayed(line, run, min_pairs=1)

    assert new["meta"]["attempt"] == 2
    assert [later["attempt"] for later in new["meta"]["later"]] == [3]
    assert changes == {"reject_to_result": ["parse.empty"]}


def test_a_reject_of_an_image_that_is_gone_is_carried_over_and_its_earlier_texts_count() -> None:
    run = begun(min_pairs=2)
    line = lived(run, text(0), None)

    same, _ = replayed(line, run)
    better, changes = replayed(line, run, min_pairs=1)

    assert (same["reason"], same["stage"], same["vqa"]) == ("image.not_found", "generate", None)
    assert same["meta"]["run"] == "new"
    assert better["meta"]["attempt"] == 1
    assert changes == {"reject_to_result": ["image.not_found"]}


def test_a_later_attempt_may_win_by_other_gates_and_may_lose_again() -> None:
    run = begun(enough_pairs=3)
    line = lived(run, text(0, 1), text(2))
    assert line["meta"]["attempt"] == 1
    strict = with_action("cap", Action.DROP)

    other, changes = replayed(line, run, actions=strict)

    assert other["meta"]["attempt"] == 2
    assert changes == {"attempt": ["gate.min_pairs"]}
    begun_so = run.reparsed("new", replace(run.quality, actions=strict))
    back, _ = replayed(other, begun_so, actions=run.quality.actions)
    line["meta"]["run"] = "new"
    assert back == line


def test_a_reject_may_be_one_for_another_reason() -> None:
    run = begun(max_attempts=1, min_pairs=2)
    _, changes = replayed(
        lived(run, text(0)), run, actions=with_action("article_length", Action.DROP), min_words=90
    )

    assert changes == {"reason": ["gate.article_length"]}


def test_another_reading_of_a_text_is_told_as_the_parsers() -> None:
    run = begun()
    line = lived(run, text(0, 2))
    line["context_vqa"]["context"] = "Another article."
    line["context_vqa"]["qas"].pop()

    _, changes = replayed(line, run)

    assert changes == {"article": ["parser"], "pairs": ["parser"]}


def test_what_an_interrupted_replay_made_of_a_line_is_compared_and_not_made_again() -> None:
    run = begun()
    line = orjson.dumps(lived(run, text(0, 1)))
    strict = replace(run.quality, actions=with_action("cap", Action.DROP))
    replay = Replay(run, run.reparsed("new", strict))
    first = replay([Item(line)])

    again = replay([Item(line, first.lines[0].data)])

    assert again.lines == []
    assert again.comparison == first.comparison


def old_reject(*earlier: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a line as it was before lines held attempts whole."""
    meta = {"key": RECORD.key, "run": "old", "prompt_digest": "0123456789abcdef"}
    return {
        "id": 7,
        "image": ["fr.png"],
        "stage": "refine",
        "reason": "gate.min_pairs",
        "message": "",
        "attempts": 1 + len(earlier),
        "vqa": text(0),
        "meta": {**meta, **({"earlier": list(earlier)} if earlier else {})},
        **fields,
    }


def test_a_reject_of_an_older_version_becomes_a_result_that_says_what_is_known() -> None:
    run = begun(min_pairs=2)
    first = {"attempt": 1, "reason": "parse.empty", "seed": 5, "finish_reason": "stop", "text": ""}

    new, _ = replayed(old_reject(first), run, min_pairs=1)

    meta = new["meta"]
    assert (meta["attempt"], meta["model"]) == (2, "m")
    assert (meta["seed"], meta["generated_at"]) == (derive_seed(RECORD.key, 2), run.created_at)
    assert (meta["worker"], meta["output_tokens"]) == ("", 0)
    assert (meta["earlier"][0]["text"], meta["earlier"][0]["seed"]) == ("", 5)


def test_what_lines_of_an_older_version_lack_is_counted() -> None:
    run = begun()
    result = lived(run, "", text(0))
    result["meta"]["earlier"] = [{"attempt": 1, "reason": "parse.empty", "output_tokens": 4}]
    lines = [Item(orjson.dumps(line)) for line in (result, old_reject())]

    answer = Replay(run, run.reparsed("new", run.quality))(lines)

    assert (answer.comparison.lost, answer.comparison.partial) == (1, 1)
    assert "earlier" not in orjson.loads(answer.lines[0].data)["meta"]


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "parse.truncated"},
        {
            "meta": {
                "key": RECORD.key,
                "prompt_digest": "0123456789abcdef",
                "checks": {"gate.truncated": []},
            }
        },
    ],
)
def test_a_text_of_an_older_version_that_was_cut_is_read_as_one(fields: dict[str, Any]) -> None:
    # The answer may go on: it is no whole pair unless the text is known to have ended there.
    run = begun(min_pairs=2)
    cut = text(0).rstrip()

    new, _ = replayed(old_reject(vqa=cut, **fields), run, min_pairs=1)
    whole, _ = replayed(old_reject(vqa=cut), run, min_pairs=1)

    assert new["reason"] == "parse.truncated"
    assert "context_vqa" in whole


@pytest.mark.parametrize(
    "damage",
    [
        {"image": 5},
        {"vqa": 5},
        {"vqa": None},
        {"context_vqa": None},
        {
            "meta": {
                "key": RECORD.key,
                "prompt_digest": "0123456789abcdef",
                "attempt": 1,
                "earlier": 5,
            }
        },
    ],
)
def test_a_line_that_is_none_of_this_pipeline_is_named_by_its_key(damage: dict[str, Any]) -> None:
    run = begun()
    line = lived(run, text(0)) | damage

    with pytest.raises(RunError, match=f"the line of key {RECORD.key} is none of this pipeline"):
        replayed(line, run)
