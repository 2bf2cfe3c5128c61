"""The parts of the feed benchmark that need no engine."""

from pathlib import Path

import orjson
import pytest

from benchmarks.feed import check_count, contenders, num_texts
from benchmarks.feeds import seed
from benchmarks.feeds.program import read_requests
from contextvqa.errors import UnavailableError
from contextvqa.records import derive_seed, record_key
from producer.prompt import DEFAULT_PROMPT
from tests.support import FLAGS


def test_every_request_has_the_seed_that_its_record_has_in_a_run() -> None:
    requests = read_requests(FLAGS / "sample_data.json")

    image = orjson.loads((FLAGS / "sample_data.json").read_bytes())[0]["image"][0]
    assert len(requests) == 48
    assert requests[0].prompt == DEFAULT_PROMPT
    assert requests[0].seed == derive_seed(record_key(None, (image,), DEFAULT_PROMPT), 1)
    assert requests[0].open_image().mode == "RGB"


def test_the_seeds_parser_reads_the_documented_form_and_no_numbered_one() -> None:
    parsed = seed.parse("Peru\n\nIts capital is Lima.\n\nQuestion: Which capital?\nAnswer: Lima")
    numbered = seed.parse("Peru\n1. Question: Which capital?\nAnswer: Lima")

    assert parsed == {
        "context": "Peru\n\nIts capital is Lima.",
        "qas": [{"question": "Which capital?", "answer": "Lima"}],
    }
    assert numbered["qas"] == []


def test_a_record_counts_once_and_only_with_a_text(tmp_path: Path) -> None:
    lines = [("a", "Peru"), ("a", "Peru"), ("b", "Chad")]
    results = [orjson.dumps({"vqa": text, "meta": {"key": key}}) for key, text in lines]
    (tmp_path / "results.jsonl").write_bytes(b"\n".join(results) + b"\n")
    (tmp_path / "rejects.jsonl").write_bytes(b'{"vqa":null,"meta":{"key":"c"}}\n')

    assert num_texts(tmp_path) == 2
    with pytest.raises(UnavailableError, match="2 texts for 3 records"):
        check_count(2, 3, tmp_path)


def test_at_a_tiny_scale_the_engine_still_gets_enough_to_do() -> None:
    sizes = {contender.name: contender.size for contender in contenders(0.001)}

    assert sizes["contextvqa"] == "40 records"
    assert sizes["contextvqa 4x"] == "160 records"
