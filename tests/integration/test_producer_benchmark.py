"""The producer benchmark, tiny."""

from pathlib import Path

import pytest

from benchmarks import producer
from benchmarks.producer import contenders


def test_a_fresh_process_enqueues_every_row(tmp_path: Path) -> None:
    quarter, *_ = contenders(0.001)

    measured = quarter.measure(tmp_path)

    assert quarter.size == "250 rows"
    assert measured["rows_per_s"] > 0
    assert 10 < measured["peak_mb"] < 500


def test_rows_that_are_done_are_not_enqueued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "MISSING_EVERY", 100)
    *_, resumed = contenders(0.001)

    measured = resumed.measure(tmp_path)

    assert resumed.size == "1,000 rows"
    assert measured["rows_per_s"] > 0
