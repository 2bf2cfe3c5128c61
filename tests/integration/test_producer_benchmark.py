"""The producer benchmark, tiny."""

from pathlib import Path

from benchmarks.producer import contenders


def test_a_fresh_process_enqueues_every_row(tmp_path: Path) -> None:
    quarter, _ = contenders(0.001)

    measured = quarter.measure(tmp_path)

    assert quarter.size == "250 rows"
    assert measured["rows_per_s"] > 0
    assert 10 < measured["peak_mb"] < 500
