"""`contextvqa trace`: what happened to one record, while Redis has it and after Redis has gone."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from contextvqa.cli import main
from contextvqa.errors import Reason
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.jobs import refine_job
from contextvqa.queueing.outcomes import Claim, Finished, Returned, read_record, rejected
from contextvqa.queueing.queues import GENERATE
from contextvqa.queueing.reaper import process_identity
from contextvqa.settings import Daemon
from refiner.stage import Refine
from tests.integration.stand_in import BAD, GOOD
from tests.stages import BURST
from tests.support import generation_of, read_lines

Trace = Callable[[object], dict[str, Any]]


@pytest.fixture
def places(redis_url: str, runs_dir: Path, tmp_path: Path) -> list[str]:
    """A run of three queued records; the options that name its places."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n{"image": "b.png"}\n{"image": "c.png"}\n')
    places = ["--runs-dir", str(runs_dir), "--redis-url", redis_url]
    assert main(["enqueue", str(source), "--run", "r", *places]) == 0
    return places


@pytest.fixture
def trace(places: list[str], capsys: pytest.CaptureFixture[str]) -> Trace:
    """Ask what is known of a record."""

    def ask(name: object) -> dict[str, Any]:
        capsys.readouterr()
        assert main(["trace", "r", str(name), "--json", *places]) == 0
        found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
        return found

    return ask


@pytest.fixture
def worker(connection: redis.Redis) -> Claims:
    """What a worker does with the queue."""
    return Claims(connection, GENERATE, "stand-in", process=process_identity(), result_ttl_s=300)


def write(worker: Claims, claim: Claim, text: str) -> None:
    """End a claim as the generate stage does."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    generation = replace(
        generation_of(claim.attempted(read_record(claim)), text),
        generated_at=now,
        image_s=0.0,
        engine_s=0.0,
        worker=worker.worker,
        queue_s=claim.queue_s,
        crashes=claim.job.crash_count,
    )
    worker.settle([(claim, Finished(follow_ups=(refine_job(generation),)))])


def refine(connection: redis.Redis, runs_dir: Path) -> None:
    asyncio.run(ConcurrentWorker(Refine(runs_dir), connection, Daemon(), BURST).serve())


def happenings(found: dict[str, Any]) -> list[tuple[int | None, str]]:
    return [(event["attempt"], event["event"]) for event in found["events"]]


def assert_in_order(found: dict[str, Any]) -> None:
    """Later events never come before earlier ones, but for milliseconds of rounding."""
    times = [datetime.fromisoformat(e["time"]).timestamp() for e in found["events"] if e["time"]]
    assert all(later - earlier > -0.01 for earlier, later in pairwise(times))


def test_a_queued_record_is_found_by_its_id_with_its_place(trace: Trace) -> None:
    found = trace(2)

    assert (found["id"], found["image"]) == (2, ["b.png"])
    assert found["place"]["text"] == "queued: number 2 of 3 on queue generate"
    assert happenings(found) == [(1, "enqueued")]
    assert trace(found["key"]) == found


def test_a_record_in_flight_says_whose_it_is_and_how_often_it_crashed(
    trace: Trace, worker: Claims
) -> None:
    (claim,) = worker.claim(1, 0)
    worker.settle([(claim, Returned(has_crashed=True))])
    worker.claim(1, 0)

    found = trace(1)

    assert (found["place"]["state"], found["place"]["worker"]) == ("in_flight", "stand-in")
    assert found["place"]["crashes"] == 1
    assert happenings(found) == [(1, "enqueued"), (1, "crashed"), (1, "claimed")]
    assert_in_order(found)


def test_a_record_that_is_generated_again_tells_of_each_attempt_until_its_line_and_beyond(
    trace: Trace, worker: Claims, connection: redis.Redis, runs_dir: Path
) -> None:
    (claim,) = worker.claim(1, 0)
    write(worker, claim, BAD)
    refine(connection, runs_dir)
    attempt = [(1, name) for name in ("enqueued", "claimed", "generating", "generated", "judged")]
    again = trace(1)
    assert happenings(again) == [*attempt, (2, "enqueued")]
    assert again["events"][4]["note"] == "parse.no_pairs"
    assert again["place"]["text"] == "queued: number 3 of 3 on queue generate"
    # The second attempt meets a worker that dies.
    *_, claim = worker.claim(3, 0)
    worker.settle([(claim, Returned(has_crashed=True))])
    (claim,) = worker.claim(1, 0)
    write(worker, claim, GOOD)
    handed = trace(1)
    assert handed["place"]["text"] == "queued: number 1 of 1 on queue refine"

    refine(connection, runs_dir)
    done = trace(1)
    connection.flushall()
    afterwards = trace(1)

    assert (done["place"]["state"], afterwards["place"]["state"]) == ("done", "done")
    assert happenings(afterwards) == [
        *attempt,
        *((2, name) for name in ("enqueued", "crashed", "claimed", "generating", "generated")),
        *((2, name) for name in ("handed over", "refining", "accepted")),
    ]
    assert happenings(done) == [*happenings(afterwards), (None, "settled")]
    assert_in_order(done)
    assert happenings(handed) == happenings(done)[: len(happenings(handed))]


def test_a_rejected_record_says_why_after_redis_has_gone(
    trace: Trace, worker: Claims, connection: redis.Redis, runs_dir: Path
) -> None:
    (claim,) = worker.claim(1, 0)
    worker.settle([(claim, rejected(claim, GENERATE, Reason.IMAGE_NOT_FOUND, "no a.png"))])
    assert trace(1)["place"]["text"] == "queued: number 1 of 1 on queue refine"
    refine(connection, runs_dir)
    connection.flushall()

    found = trace(1)

    assert found["place"]["text"] == "rejected: image.not_found: no a.png"
    assert [name for _, name in happenings(found)] == [
        *("enqueued", "claimed", "failed", "handed over", "refining", "rejected")
    ]
    assert [event["worker"] for event in found["events"]][1:3] == ["stand-in"] * 2
    assert_in_order(found)


def test_what_nobody_knows_is_one_line_and_exit_code_2(
    places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("7", "no such id", "0" * 32):
        capsys.readouterr()

        assert main(["trace", "r", name, *places]) == 2

        said = capsys.readouterr().err
        assert said.startswith("contextvqa: error: run 'r' has neither a line nor a job of ")
        assert len(said.splitlines()) == 1


def test_an_id_of_several_records_names_their_keys(
    places: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"image": "x.png"}\n')
    assert main(["enqueue", str(other), "--run", "r", *places]) == 0
    capsys.readouterr()

    assert main(["trace", "r", "1", *places]) == 2

    said = capsys.readouterr().err
    assert "2 records of run 'r' have the id 1; name one by its key: " in said


def test_a_server_that_is_away_leaves_the_files(
    places: list[str],
    worker: Claims,
    connection: redis.Redis,
    runs_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (claim,) = worker.claim(1, 0)
    write(worker, claim, GOOD)
    refine(connection, runs_dir)
    (line,) = read_lines(runs_dir / "r" / "results.jsonl")
    places[-1] = "redis://127.0.0.1:1"
    capsys.readouterr()

    assert main(["trace", "r", line["meta"]["key"], *places]) == 0
    assert main(["trace", "r", "2", *places]) == 3

    told, said = capsys.readouterr()
    assert "done: its line is in results.jsonl\n  its files alone were asked: no Redis" in told
    assert "of its jobs: no Redis server at redis://127.0.0.1:1" in said
