"""The refiner benchmark, tiny."""

from pathlib import Path

from benchmarks.refiner import contenders
from tests.support import read_lines


def test_a_text_of_2_kb_is_parsed_and_judged_alone_and_by_a_process_that_syncs_every_line(
    tmp_path: Path,
) -> None:
    parser, gates, refiner = contenders(0.001)

    parsed = parser.measure(tmp_path)
    judged = gates.measure(tmp_path)
    refined = refiner.measure(tmp_path)

    assert parser.size == "20 texts of 1,933 bytes"
    assert parsed["texts_per_s"] > 0
    assert judged["texts_per_s"] > 0
    assert len(read_lines(tmp_path / "benchmark" / "results.jsonl")) == 20
    assert 0 < refined["fsyncs_per_record"] <= 1
    assert refined["records_per_s"] > 0
