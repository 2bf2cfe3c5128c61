"""Records whose text is not good enough go back to be generated, until one attempt is or none is left."""

from pathlib import Path

import orjson
import pytest
import redis

from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from contextvqa.records import ImageRecord, derive_seed
from tests.integration.stand_in import BAD, GOOD, lines_of, work_off
from tests.support import run_contextvqa

#: At which attempt each image gets a good text; 0 for never.
GOOD_AT = {"first.png": 1, "second.png": 2, "third.png": 3, "never.png": 0}


@pytest.fixture
def places(connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path) -> list[object]:
    """A run of four queued records with three attempts each; the options that name its places."""
    assert connection.ping()
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"".join(b'{"image": "%s"}\n' % image.encode() for image in GOOD_AT))
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    enqueue = ("enqueue", source, "--run", "r", "--max-attempts", 3)
    assert run_contextvqa(*enqueue, *places).returncode == 0
    return places


def write(record: ImageRecord) -> str:
    return GOOD if record.attempt == GOOD_AT[record.image[0]] else BAD


def test_a_record_is_generated_until_its_text_is_good_or_no_attempt_is_left(
    connection: redis.Redis, places: list[object], runs_dir: Path
) -> None:
    asked = [work_off(connection, write, places) for _ in range(4)]

    assert [sorted(record.image[0] for record in records) for records in asked] == [
        ["first.png", "never.png", "second.png", "third.png"],
        ["never.png", "second.png", "third.png"],
        ["never.png", "third.png"],
        [],
    ]
    results, rejects = (lines_of(runs_dir / "r", kind) for kind in ("results", "rejects"))
    assert {
        image: (line["meta"]["attempt"], len(line["meta"].get("earlier", ())))
        for image, (line,) in results.items()
    } == {"first.png": (1, 0), "second.png": (2, 1), "third.png": (3, 2)}
    (reject,) = rejects["never.png"]
    assert (reject["reason"], reject["attempts"], reject["vqa"]) == ("parse.no_pairs", 3, BAD)
    assert [earlier["text"] for earlier in reject["meta"]["earlier"]] == [BAD, BAD]


def test_each_attempt_is_sampled_with_a_seed_of_its_own(
    connection: redis.Redis, places: list[object]
) -> None:
    records = [record for _ in range(3) for record in work_off(connection, write, places)]

    seeds = [derive_seed(record.key, record.attempt) for record in records]
    assert len(set(seeds)) == len(seeds) == 9


def test_a_record_on_its_way_back_is_pending_and_its_jobs_stand_where_they_are(
    connection: redis.Redis, places: list[object]
) -> None:
    work_off(connection, write, places)

    status = orjson.loads(run_contextvqa("status", "r", *places, "--json").stdout)
    assert (status["accepted"], status["rejected"], status["pending"]) == (1, 0, 3)
    generate, refine = (rq_queue(name, connection) for name in (GENERATE, REFINE))
    assert len(generate.job_ids) == 3
    assert len(generate.finished_job_registry.get_job_ids(cleanup=False)) == 1
    assert len(refine.finished_job_registry.get_job_ids(cleanup=False)) == 4
    audit = orjson.loads(run_contextvqa("audit", "r", "--json", *places).stdout)
    assert (audit["done"], audit["rejected"], audit["pending"]) == (1, 0, 3)


def test_a_queue_that_is_lost_on_the_way_back_is_made_again_from_the_files(
    connection: redis.Redis, places: list[object], runs_dir: Path, tmp_path: Path
) -> None:
    work_off(connection, write, places)
    connection.flushall()

    enqueue = ("enqueue", tmp_path / "in.jsonl", "--run", "r", "--max-attempts", 3)
    assert run_contextvqa(*enqueue, *places).returncode == 0
    for _ in range(3):
        work_off(connection, write, places)

    run = runs_dir / "r"
    assert {kind: sorted(lines_of(run, kind)) for kind in ("results", "rejects")} == {
        "results": ["first.png", "second.png", "third.png"],
        "rejects": ["never.png"],
    }


def test_a_number_of_attempts_below_one_is_refused(redis_url: str, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n')

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--max-attempts", 0, "--redis-url", redis_url)
    )

    assert done.returncode == 2
    assert "--max-attempts is 0; it must be at least 1." in done.stderr
