"""Records: keys, seeds, payloads and lines."""

import subprocess
import sys
from dataclasses import replace

import orjson
import pytest

from contextvqa.errors import Reason, RejectError
from contextvqa.records import (
    QA,
    ContextVQA,
    ImageRecord,
    Rejection,
    Result,
    derive_seed,
    from_payload,
    record_key,
    to_payload,
)
from tests.support import generation_of

RECORD = ImageRecord(
    run="r", key="ab", id=7, image=("a.png", "b.png"), prompt_digest="0123456789abcdef"
)
GENERATION = generation_of(RECORD, "raw \udce9 text")


def test_a_key_depends_on_id_images_in_order_and_prompt_alone() -> None:
    keys = {
        record_key(None, ("a",), "p"),
        record_key(1, ("a",), "p"),
        record_key("1", ("a",), "p"),
        record_key(None, ("a", "b"), "p"),
        record_key(None, ("b", "a"), "p"),
        record_key(None, ("a",), "q"),
    }

    assert len(keys) == 6
    assert record_key(None, ("a",), "p") in keys


def test_each_attempt_has_its_own_seed_and_always_the_same() -> None:
    seeds = [derive_seed("key", attempt) for attempt in range(1, 100)]

    assert len(set(seeds)) == 99
    assert seeds[0] == derive_seed("key", 1)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_payload_reads_back_as_it_was_after_a_trip_through_json() -> None:
    rejection = Rejection(
        record=RECORD, stage="generate", reason=Reason.IMAGE_DAMAGED, message="cut"
    )

    payload = orjson.loads(orjson.dumps(to_payload(rejection)))

    assert from_payload(payload, Rejection) == rejection


@pytest.mark.parametrize("payload", [{}, {"run": 1}, {"run": "r", "key": "k", "id": []}])
def test_a_payload_of_another_version_is_rejected_with_the_field_named(
    payload: dict[str, object],
) -> None:
    with pytest.raises(RejectError, match="is not a ImageRecord of this version") as caught:
        from_payload(payload, ImageRecord)

    assert caught.value.reason == Reason.MALFORMED


def test_a_results_line_has_the_seeds_fields_first_and_then_where_it_came_from() -> None:
    result = Result(
        generation=GENERATION,
        context_vqa=ContextVQA(context="c", qas=(QA(question="q?", answer="a"),)),
    )

    line = result.to_line()

    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    fields = orjson.loads(line)
    assert list(fields) == ["id", "image", "context_vqa", "vqa", "meta"]
    assert fields["image"] == ["a.png", "b.png"]
    assert fields["context_vqa"] == {"context": "c", "qas": [{"question": "q?", "answer": "a"}]}
    assert fields["vqa"] == "raw \ufffd text"
    for name in ("key", "run", "model", "prompt_digest", "attempt", "seed", "finish_reason"):
        assert name in fields["meta"]
    for name in ("prompt_tokens", "output_tokens", "worker", "generated_at", "checks"):
        assert name in fields["meta"]


def test_a_rejects_line_says_stage_reason_message_attempts_and_raw_text() -> None:
    rejection = Rejection(
        record=RECORD,
        stage="refine",
        reason=Reason.PARSE_NO_PAIRS,
        message="none",
        written=generation_of(RECORD, "raw").written,
    )

    fields = orjson.loads(rejection.to_line())

    assert fields["id"] == 7
    assert (fields["stage"], fields["reason"]) == ("refine", "parse.no_pairs")
    assert (fields["message"], fields["attempts"], fields["vqa"]) == ("none", 1, "raw")
    assert fields["meta"] == {
        "key": "ab",
        "run": "r",
        "prompt_digest": "0123456789abcdef",
        "finish_reason": "stop",
        "prompt_tokens": 3,
        "output_tokens": 4,
        "seed": 5,
        "model": "m",
        "worker": "w",
        "generated_at": "2026-01-01T00:00:00+00:00",
        "image_s": 0.1,
        "engine_s": 0.2,
        "queue_s": None,
        "crashes": 0,
    }


def test_a_rejects_line_of_a_record_that_no_model_saw_says_nothing_of_a_text() -> None:
    rejection = Rejection(
        record=RECORD, stage="generate", reason=Reason.IMAGE_NOT_FOUND, message="gone"
    )

    fields = orjson.loads(rejection.to_line())

    assert fields["vqa"] is None
    assert fields["meta"] == {"key": "ab", "run": "r", "prompt_digest": "0123456789abcdef"}


def test_every_line_keeps_a_prompt_that_stands_nowhere_else() -> None:
    record = replace(RECORD, prompt="Say more.")
    rejection = Rejection(
        record=record, stage="refine", reason=Reason.PARSE_NO_PAIRS, message="none"
    )
    result = Result(
        generation=generation_of(record, "raw"),
        context_vqa=ContextVQA(context="c", qas=(QA(question="q?", answer="a"),)),
    )

    for line in (rejection.to_line(), result.to_line()):
        assert orjson.loads(line)["meta"]["prompt"] == "Say more."


#: Threads that meet types for the first time together, in a process that may die of it.
FIRST_MEETINGS = """
import sys, threading
from dataclasses import make_dataclass
from contextvqa.records import from_payload

def read(kind, start):
    start.wait()
    assert from_payload({"first": {"x": 1}, "more": [{}]}, kind).first.x == 1

sys.setswitchinterval(1e-6)
for _ in range(100):
    inner = make_dataclass("Inner", [(name, int | None, None) for name in "xyzabcdefgh"])
    kind = make_dataclass("Outer", [("first", inner), ("more", tuple[inner, ...])])
    start = threading.Barrier(4)
    threads = [threading.Thread(target=read, args=(kind, start)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_may_read_payloads_of_a_type_that_none_has_read_before() -> None:
    meetings = subprocess.run(
        [sys.executable, "-c", FIRST_MEETINGS], capture_output=True, text=True, check=False
    )
    assert (meetings.returncode, meetings.stderr) == (0, "")
