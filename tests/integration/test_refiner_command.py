"""`contextvqa refiner`: a real process that appends durably, or stops and acknowledges nothing."""

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from contextvqa.gates import Quality
from contextvqa.queueing import bookkeeping
from contextvqa.queueing.jobs import refine_job, reject_job
from contextvqa.queueing.pauses import pause_of, resume
from contextvqa.queueing.queues import REFINE, rq_queue
from contextvqa.records import ImageRecord, Rejection, record_key
from contextvqa.settings import Gates, Sampling
from contextvqa.storage.run_directory import RunDirectory
from tests.support import (
    clean_environment,
    contextvqa,
    generation_of,
    read_lines,
    run_contextvqa,
    wait_until,
)

TEXT = """{number} is a number.

1. Question: Which number is it?
   Answer: {number}
2. Question: Is it big?
   Answer: no
"""


def record(number: int) -> ImageRecord:
    image = (f"{number}.png",)
    return ImageRecord(
        run="r",
        key=record_key(None, image, "p"),
        id=number,
        image=image,
        prompt_digest="0123456789abcdef",
    )


def enqueue_generations(connection: redis.Redis, numbers: range, text: str = TEXT) -> None:
    specs = [
        refine_job(generation_of(record(number), text.format(number=number))) for number in numbers
    ]
    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, rq_queue(REFINE, connection), specs)
        pipeline.execute()


@pytest.fixture
def refiner(redis_url: str, runs_dir: Path) -> list[object]:
    RunDirectory(runs_dir, "r").begin("m", Sampling(), "in.json", Quality(max_attempts=1))
    return ["refiner", "--redis-url", redis_url, "--runs-dir", runs_dir]


def test_generations_become_results_and_rejections_become_rejects(
    connection: redis.Redis, refiner: list[object], runs_dir: Path
) -> None:
    enqueue_generations(connection, range(1, 101))
    enqueue_generations(connection, range(101, 103), text="I cannot help with that.")
    rejection = Rejection(
        record=record(103), stage="generate", reason="image.not_found", message="gone"
    )
    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, rq_queue(REFINE, connection), [reject_job(rejection)])
        pipeline.execute()

    done = run_contextvqa(*refiner, "--burst")

    assert done.returncode == 0, done.stderr
    results = read_lines(runs_dir / "r" / "results.jsonl")
    assert sorted(line["id"] for line in results) == list(range(1, 101))
    assert [pair["answer"] for pair in results[0]["context_vqa"]["qas"]] == [
        str(results[0]["id"]),
        "no",
    ]
    rejects = read_lines(runs_dir / "r" / "rejects.jsonl")
    assert {line["id"]: line["reason"] for line in rejects} == {
        101: "parse.refusal",
        102: "parse.refusal",
        103: "image.not_found",
    }
    assert {line["vqa"] for line in rejects} == {"I cannot help with that.", None}


def test_a_full_disk_stops_the_refiner_and_nothing_is_acknowledged_that_is_not_on_disk(
    connection: redis.Redis, refiner: list[object], runs_dir: Path
) -> None:
    # Given a disk that takes 20,000 bytes of results
    enqueue_generations(connection, range(200))
    limited = ["prlimit", "--fsize=20000", *contextvqa(*refiner, "--burst")]

    # When the refiner runs into its end
    done = subprocess.run(
        limited, capture_output=True, text=True, check=False, env=clean_environment()
    )

    # Then it says so in one line, and what rq calls finished is in the file
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("contextvqa: error: cannot write ")
    assert "Traceback" not in done.stderr
    lines = read_lines(runs_dir / "r" / "results.jsonl")
    queue = rq_queue(REFINE, connection)
    assert queue.finished_job_registry.count <= len(lines)
    assert queue.finished_job_registry.count + queue.count == 200

    # And with room again all of them are there, each once
    assert run_contextvqa(*refiner, "--burst").returncode == 0
    ids = [line["id"] for line in read_lines(runs_dir / "r" / "results.jsonl")]
    assert sorted(ids) == list(range(200))


def test_a_damaged_run_is_paused_with_the_line_named_and_the_others_go_on(
    connection: redis.Redis, refiner: list[object], runs_dir: Path
) -> None:
    # Given a run with a damaged line in the middle, and another one
    healthy = RunDirectory(runs_dir, "healthy")
    healthy.begin("m", Sampling(), "in.json")
    damaged = RunDirectory(runs_dir, "r")
    damaged.results_path.write_bytes(b'{"id": 1, "meta"\n')
    enqueue_generations(connection, range(1, 11))
    others = [replace(record(number), run="healthy") for number in range(1, 11)]
    specs = [refine_job(generation_of(other, TEXT.format(number=other.id))) for other in others]
    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, rq_queue(REFINE, connection), specs)
        pipeline.execute()

    # When a refiner serves both
    done = run_contextvqa(*refiner, "--burst")

    # Then it wrote the one, and paused the other with what is wrong with it
    assert done.returncode == 0
    assert len(read_lines(healthy.results_path)) == 10
    why = pause_of(connection, "r")
    assert why is not None
    assert "results.jsonl, line 1" in why.message
    assert rq_queue(REFINE, connection).deferred_job_registry.get_job_count(cleanup=False) == 10

    # And once the line is mended and the run resumed, nothing of it is missing
    damaged.results_path.write_bytes(b"")
    resume(connection, "r")
    assert run_contextvqa(*refiner, "--burst").returncode == 0
    assert sorted(line["id"] for line in read_lines(damaged.results_path)) == list(range(1, 11))


def test_texts_are_judged_by_the_gates_of_their_own_run(
    connection: redis.Redis, refiner: list[object], runs_dir: Path
) -> None:
    strict = RunDirectory(runs_dir, "strict")
    strict.begin("m", Sampling(), "in.json", Gates(gates="off", gate=("cap=drop",)).quality())
    enqueue_generations(connection, range(1, 4))
    judged = refine_job(generation_of(replace(record(1), run="strict"), TEXT.format(number=1)))
    with connection.pipeline() as pipeline:
        bookkeeping.enqueue(pipeline, rq_queue(REFINE, connection), [judged])
        pipeline.execute()

    assert run_contextvqa(*refiner, "--burst").returncode == 0

    (line,) = read_lines(strict.results_path)
    assert [pair["answer"] for pair in line["context_vqa"]["qas"]] == ["1"]
    assert line["meta"]["checks"]["gate.cap"][0]["evidence"] == "no"
    lines = read_lines(runs_dir / "r" / "results.jsonl")
    assert {len(line["context_vqa"]["qas"]) for line in lines} == {2}


def test_a_run_whose_run_json_is_damaged_is_paused_until_it_is_mended(
    connection: redis.Redis, refiner: list[object], runs_dir: Path
) -> None:
    directory = RunDirectory(runs_dir, "r")
    written = directory.config_path.read_bytes()
    directory.config_path.write_bytes(b"{")
    enqueue_generations(connection, range(1, 4))

    assert run_contextvqa(*refiner, "--burst").returncode == 0

    why = pause_of(connection, "r")
    assert why is not None
    assert "run.json is not the run.json of this version" in why.message
    directory.config_path.write_bytes(written)
    resume(connection, "r")
    assert run_contextvqa(*refiner, "--burst").returncode == 0
    assert len(read_lines(directory.results_path)) == 3


def test_sigterm_ends_an_idle_refiner_with_exit_code_0(
    connection: redis.Redis, refiner: list[object], runs_dir: Path
) -> None:
    enqueue_generations(connection, range(10))
    with subprocess.Popen(
        contextvqa(*refiner), stderr=subprocess.DEVNULL, env=clean_environment()
    ) as process:
        wait_until(lambda: rq_queue(REFINE, connection).finished_job_registry.count == 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert len(read_lines(runs_dir / "r" / "results.jsonl")) == 10
    assert connection.smembers("rq:workers") == set()


def test_a_refiner_stops_when_whoever_started_it_dies(
    connection: redis.Redis, refiner: list[object]
) -> None:
    with subprocess.Popen(
        contextvqa(*refiner, "--until-stdin-closes"),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    ) as process:
        wait_until(lambda: connection.smembers("rq:workers"))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("command", ["worker", "refiner"])
def test_a_daemon_without_a_server_ends_with_exit_code_3_before_it_loads_anything(
    tmp_path: Path, command: str
) -> None:
    done = run_contextvqa(command, "--redis-url", "redis://u:secret@127.0.0.1:1/0", cwd=tmp_path)

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "redis://127.0.0.1:1/0" in done.stderr
    assert "secret" not in done.stderr
