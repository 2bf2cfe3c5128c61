"""A mount is lost, comes back, and what it cost is tried again: the whole way of a user."""

from pathlib import Path

import pytest

from tests.second_host import SERVER_URL
from tests.support import FLAGS, read_lines, run_contextvqa

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]


def test_a_lost_mount_pauses_the_run_and_retry_brings_back_what_it_cost(
    runs_dir: Path, tmp_path: Path
) -> None:
    # Given a run whose images are away
    places: list[object] = ["--runs-dir", runs_dir]
    command: list[object] = ["run", FLAGS / "sample_data.json", "--run", "test", *places]
    command += ["--model", FLAGS / "model", "--breaker-window", 20]
    source: list[object] = ["--input", FLAGS / "sample_data.json"]

    # When it is run
    paused = run_contextvqa(*command, "--image-root", tmp_path / "away")

    # Then it stops, says why and how to go on, and most records wait
    assert paused.returncode == 5
    *_, advice, error = paused.stderr.splitlines()
    assert "to resume: contextvqa run" in advice
    assert "is paused" in error
    assert "image.not_found" in error

    # When the images are back and the same command is given
    resumed = run_contextvqa(*command, "--image-root", FLAGS)
    assert resumed.returncode == 0, resumed.stderr
    rejects = read_lines(runs_dir / "test" / "rejects.jsonl")
    lost = [line["id"] for line in rejects if line["reason"] == "image.not_found"]
    # Each worker takes so many to see it.
    assert len(lost) == 10 if SERVER_URL is None else 10 <= len(lost) <= 20

    # And what was rejected is tried again
    retried = run_contextvqa("retry", "test", "--reason", "image.not_found", *places)
    assert retried.returncode == 0
    assert run_contextvqa(*command, "--image-root", FLAGS).returncode == 0

    # Then every record has ended once, those with a second attempt
    lines = read_lines(runs_dir / "test" / "results.jsonl")
    later = {line["id"]: line["meta"]["attempt"] for line in lines if line["id"] in lost}
    assert set(later.values()) == {2}
    assert len(later) >= 0.9 * len(lost)
    audited = run_contextvqa("audit", "test", *places, *source)
    assert audited.returncode == 0, audited.stdout + audited.stderr
