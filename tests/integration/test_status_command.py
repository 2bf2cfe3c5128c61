"""`contextvqa status`: what a run is at, from its directory and its server."""

import subprocess
from pathlib import Path

import orjson
import pytest
import redis

from contextvqa.errors import Reason
from contextvqa.records import ImageRecord, Rejection
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.storage.sink import Line, Sink
from tests.support import clean_environment, contextvqa, run_contextvqa


@pytest.fixture
def begun(redis_url: str, runs_dir: Path, tmp_path: Path) -> list[object]:
    """A run of three queued records; the options that name its places."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n{"image": "b.png"}\n{"image": "c.png"}\n')
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    assert run_contextvqa("enqueue", source, "--run", "begun", *places).returncode == 0
    return places


def test_a_run_that_has_begun_shows_its_pending_records_and_queues(begun: list[object]) -> None:
    done = run_contextvqa("status", "begun", *begun, "--json")

    state = orjson.loads(done.stdout)
    assert (state["accepted"], state["rejected"], state["pending"]) == (0, 0, 3)
    assert state["queues"]["generate"] == {
        "queued": 3,
        "started": 0,
        "deferred": 0,
        "finished": 0,
        "failed": 0,
    }
    assert state["workers"] == []


def test_rejects_are_counted_by_reason_with_examples_unless_a_success_came_later(
    begun: list[object], runs_dir: Path
) -> None:
    sink = Sink(RunDirectory(runs_dir, "begun"))
    for number, reason in enumerate((Reason.PARSE_NO_PAIRS, Reason.PARSE_NO_PAIRS, Reason.CRASHED)):
        key = f"{number:032x}"
        record = ImageRecord(
            run="begun", key=key, id=number, image=("i",), prompt_digest="0123456789abcdef"
        )
        rejection = Rejection(record=record, stage="refine", reason=reason, message="why")
        sink.append([Line(key=key, data=rejection.to_line(), is_result=False)])
    late = orjson.dumps({"id": 2, "meta": {"key": f"{2:032x}", "generated_at": "2026-01-01"}})
    sink.append([Line(key=f"{2:032x}", data=late + b"\n", is_result=True)])

    state = orjson.loads(run_contextvqa("status", "begun", *begun, "--json").stdout)
    text = run_contextvqa("status", *begun).stdout

    assert (state["accepted"], state["rejected"]) == (1, 2)
    assert state["funnel"]["rejects"] == {
        "parse.no_pairs": {"count": 2, "example_ids": [0, 1], "message": "why"}
    }
    assert "run begun: 1 accepted, 2 rejected, pending 3" in text
    assert "2 x parse.no_pairs, as id 0, 1: why" in text


def test_a_run_that_is_not_there_is_refused_in_one_line(begun: list[object]) -> None:
    done = run_contextvqa("status", "other", *begun)

    assert done.returncode == 2
    assert done.stderr.startswith("contextvqa: error: there is no run 'other' in ")
    assert len(done.stderr.splitlines()) == 1


def test_status_without_a_server_is_exit_code_3(
    begun: list[object], connection: redis.Redis
) -> None:
    assert connection.ping()
    begun[-1] = "redis://127.0.0.1:1"

    done = run_contextvqa("status", "begun", *begun)

    assert done.returncode == 3
    assert "no Redis server at redis://127.0.0.1:1" in done.stderr


def test_a_copied_run_directory_does_not_hide_the_others(
    begun: list[object], runs_dir: Path
) -> None:
    (runs_dir / "begun.bak").mkdir()
    (runs_dir / "begun.bak" / "run.json").write_bytes(
        (runs_dir / "begun" / "run.json").read_bytes()
    )

    done = run_contextvqa("status", *begun)

    assert done.returncode == 0
    assert done.stdout.startswith("run begun: ")


def test_whoever_reads_the_output_may_have_enough_of_it(begun: list[object]) -> None:
    with subprocess.Popen(
        contextvqa("status", "begun", "--watch", "--json", *begun),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""
