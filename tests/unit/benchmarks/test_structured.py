"""The figures of an output mode, without an engine."""

from benchmarks.feeds.program import Left
from benchmarks.structured import figures_of

WHOLE = '{"context": "A fox is red.", "qas": [{"question": "What colour is it?", "answer": "red"}]}'
#: Two pairs; of the second, what max_tokens left is no answer.
CUT = (
    "A fox is red and lives in woods.\n\n"
    "Question: What colour is it?\nAnswer: red\nQuestion: Where does it live?\nAnswer: wo"
)


def test_texts_are_judged_by_how_they_ended_and_rates_are_of_all_of_them() -> None:
    left = Left(
        load_s=9,
        feed_s=2,
        feed_cpu_s=3,
        texts=(WHOLE, CUT, CUT, "I do not know."),
        finish_reasons=("stop", "length", "stop", "stop"),
        prompt_tokens=40,
        cached_tokens=0,
        output_tokens=120,
    )

    assert figures_of(left) == {
        "accepted_records": 3,
        "kept_pairs": 1 + 1 + 2,
        "output_tokens": 30,
        "records_per_s": 2,
        "cpu_ms": 750,
    }
