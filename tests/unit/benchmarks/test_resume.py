"""The resume benchmark, with a file small enough to be written in no time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import resume
from contextvqa.storage import follower


def in_this_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    return measure(*arguments)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> resume.Results:
    monkeypatch.setattr(resume, "OUTPUT", tmp_path)
    monkeypatch.setattr(resume, "NUM_LOOKUPS", 1000)
    monkeypatch.setattr(resume, "in_fresh_process", in_this_process)
    monkeypatch.setattr(follower, "SAVE_BYTES", 100_000)
    return resume.Results(2000)


def test_a_rebuild_leaves_the_snapshot_that_the_other_opens(
    results: resume.Results, tmp_path: Path
) -> None:
    rebuild = resume.Rebuild(results)

    rebuild.prepare()
    rebuilt = rebuild.measure(tmp_path)
    assert results.snapshot_path.exists()
    opened = resume.Snapshot(results).measure(tmp_path)

    assert rebuilt.keys() | {"snapshot_mb"} == opened.keys()
    assert opened["snapshot_mb"] == results.snapshot_path.stat().st_size / 1e6
    assert results.path.stat().st_size == 2000 * resume.LINE_BYTES


def test_a_snapshot_measured_alone_makes_one_first(results: resume.Results, tmp_path: Path) -> None:
    assert resume.Snapshot(results).measure(tmp_path)["snapshot_mb"] > 0


def test_the_smallest_file_is_large_enough_for_a_snapshot() -> None:
    rebuild, _ = resume.contenders(0.001)

    assert rebuild.size == "335,545 records"
    assert 335_545 * resume.LINE_BYTES > follower.SAVE_BYTES
