"""The benchmark of queues that are watched, tiny."""

from pathlib import Path

from benchmarks.watched_queues import METRICS, contenders


def test_all_records_are_carried_while_all_there_is_looks_at_them(tmp_path: Path) -> None:
    unwatched, *_, watched = contenders(0.001)
    watched.prepare()

    measured = watched.measure(tmp_path)

    assert {metric.name for metric in METRICS} <= measured.keys()
    assert measured["records_per_s"] > 0
    assert {metric.baseline for metric in METRICS} == {unwatched.name, watched.name}
    # Both commands have watched the run.
    assert "metrics: http://" in (tmp_path / "metrics.log").read_text()
    assert '"accepted"' in (tmp_path / "status.log").read_text()
