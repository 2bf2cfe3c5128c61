"""`contextvqa retry`: rejects enter again as another attempt, and end exactly once all the same."""

from pathlib import Path

import orjson
import pytest
import redis
from rq.job import Job

from contextvqa.processes.server import EmbeddedServer
from contextvqa.processes.server_socket import running_url
from contextvqa.queueing.connection import connect
from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.queues import GENERATE, prompts_key, rq_queue
from contextvqa.queueing.runs import Runs
from contextvqa.records import derive_seed, prompt_digest
from contextvqa.storage.run_directory import RunDirectory
from tests.integration.stand_in import BAD, GOOD, ONCE, generate, lines_of, work_off
from tests.support import run_contextvqa

TEXTS = {"good.png": GOOD, "bad.png": BAD, "worse.png": BAD, "gone.png": None}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join(b'{"image": "%s"}\n' % image.encode() for image in TEXTS))
    return path


@pytest.fixture
def places(connection: redis.Redis, redis_url: str, runs_dir: Path, source: Path) -> list[object]:
    """A complete run of one result and three rejects; the options that name its places."""
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    assert run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places).returncode == 0
    work_off(connection, lambda record: TEXTS[record.image[0]], places)
    return places


@pytest.fixture
def run(places: list[object], runs_dir: Path) -> Path:
    assert places
    return runs_dir / "r"


def key_of(run: Path, image: str) -> str:
    key: str = lines_of(run, "rejects")[image][0]["meta"]["key"]
    return key


def status(places: list[object]) -> tuple[int, int, int]:
    state = orjson.loads(run_contextvqa("status", "r", *places, "--json").stdout)
    return state["accepted"], state["rejected"], state["pending"]


def test_a_reject_that_succeeds_on_another_attempt_is_accepted_and_its_line_no_longer_counts(
    connection: redis.Redis, places: list[object], run: Path
) -> None:
    done = run_contextvqa("retry", "r", "--reason", "parse.no_pairs", *places)

    assert (done.returncode, done.stdout) == (0, "")
    assert "2 rejects enqueued again" in done.stderr
    records = work_off(connection, lambda _: GOOD, places)
    assert {record.image[0]: record.attempt for record in records} == {
        "bad.png": 2,
        "worse.png": 2,
    }
    assert status(places) == (3, 1, 0)
    assert len(lines_of(run, "rejects")["bad.png"]) == 1
    (result,) = lines_of(run, "results")["bad.png"]
    assert result["meta"]["attempt"] == 2
    assert derive_seed(result["meta"]["key"], 2) != derive_seed(result["meta"]["key"], 1)


def test_a_reject_that_fails_again_gets_a_second_line_and_may_be_tried_a_third_time(
    connection: redis.Redis, places: list[object], run: Path
) -> None:
    for _ in range(2):
        assert run_contextvqa("retry", "r", "--all", *places).returncode == 0
        work_off(connection, lambda record: TEXTS[record.image[0]], places)

    rejects = lines_of(run, "rejects")
    assert {image: [line["attempts"] for line in lines] for image, lines in rejects.items()} == {
        "bad.png": [1, 2, 3],
        "worse.png": [1, 2, 3],
        "gone.png": [1, 2, 3],
    }
    assert status(places) == (1, 3, 0)


def test_what_has_a_result_or_is_on_its_way_is_not_tried_again(
    connection: redis.Redis, places: list[object], run: Path
) -> None:
    bad, good = key_of(run, "bad.png"), lines_of(run, "results")["good.png"][0]["meta"]["key"]
    run_contextvqa("retry", "r", "--key", bad, *places)

    done = run_contextvqa("retry", "r", "--key", good, "--key", bad, *places, "--json")

    assert done.returncode == 0
    counts = orjson.loads(done.stdout)
    assert (counts["enqueued"], counts["live"], counts["done"]) == (0, 1, 1)
    assert rq_queue(GENERATE, connection).count == 1


def test_what_rq_lists_as_ended_is_listed_as_queued_alone(
    connection: redis.Redis, places: list[object]
) -> None:
    queue = rq_queue(GENERATE, connection)
    assert queue.finished_job_registry.count + queue.failed_job_registry.count == 4

    run_contextvqa("retry", "r", "--all", *places)

    assert (queue.count, queue.finished_job_registry.count) == (3, 1)
    assert queue.failed_job_registry.count == 0


def test_the_reason_of_the_last_attempt_is_the_one_that_counts(
    connection: redis.Redis, places: list[object]
) -> None:
    run_contextvqa("retry", "r", "--reason", "parse.no_pairs", *places)
    work_off(connection, lambda _: None, places)

    earlier = run_contextvqa("retry", "r", "--reason", "parse.no_pairs", *places)
    last = run_contextvqa("retry", "r", "--reason", "image.not_found", *places)

    assert "nothing to retry" in earlier.stderr
    assert "3 rejects enqueued again" in last.stderr


def test_a_retried_reject_whose_job_is_lost_is_a_reject_again_once_enqueue_has_looked(
    connection: redis.Redis, places: list[object], run: Path, source: Path
) -> None:
    run_contextvqa("retry", "r", "--all", *places)
    connection.delete(Job.key_for(job_id("r", key_of(run, "bad.png"), Kind.GENERATE)))

    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)

    assert Runs(connection).num_pending("r") == 2
    assert run_contextvqa("retry", "r", "--all", *places, "--json").stdout.startswith(
        '{"enqueued":1,"live":2,'
    )


def test_an_unknown_reason_is_refused_with_those_of_the_run_and_one_without_rejects_is_not(
    places: list[object],
) -> None:
    unknown = run_contextvqa("retry", "r", "--reason", "parse.nopairs", *places)
    none = run_contextvqa("retry", "r", "--reason", "job.crashed", *places)

    assert unknown.returncode == 2
    assert "no reason parse.nopairs" in unknown.stderr
    assert "parse.no_pairs (2), image.not_found (1)" in unknown.stderr
    assert none.returncode == 0
    assert "nothing to retry" in none.stderr


def test_unknown_keys_are_reported_after_the_others_went_in(
    connection: redis.Redis, places: list[object], run: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{key_of(run, 'bad.png')}\n{'0' * 32}\nno key\n")

    done = run_contextvqa("retry", "r", "--keys-from", keys, *places)

    assert done.returncode == 2
    assert "3 keys are of no record of run 'r'" in done.stderr.splitlines()[-1]
    assert rq_queue(GENERATE, connection).count == 1


@pytest.mark.parametrize("choice", [[], ["--all", "--key", "0"]])
def test_a_choice_is_made_in_one_way(places: list[object], choice: list[str]) -> None:
    done = run_contextvqa("retry", "r", *choice, *places)

    assert done.returncode == 2
    assert "expected one of --reason, --key, --keys-from or --all" in done.stderr


def lose(connection: redis.Redis, runs_dir: Path, prompt: str) -> None:
    """Lose the prompts of a run in Redis, and one in its directory."""
    connection.delete(prompts_key("r"))
    (runs_dir / "r" / "prompts" / f"{prompt_digest(prompt)}.txt").unlink()


def test_after_redis_lost_everything_config_and_prompt_are_stored_again(
    connection: redis.Redis, places: list[object]
) -> None:
    connection.flushall()

    assert run_contextvqa("retry", "r", "--all", *places).returncode == 0

    work_off(connection, lambda record: Runs(connection).prompt_of(record)[1] and GOOD, places)
    assert status(places) == (4, 0, 0)


def test_records_whose_prompt_is_lost_wait_for_enqueue_to_write_it_again(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.json"
    conversation = [{"from": "human", "value": "Say more."}]
    rows = [{"image": "a.png", "conversation": conversation}, {"image": "b.png"}]
    source.write_bytes(orjson.dumps(rows))
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    enqueue = ["enqueue", source, "--run", "r", *ONCE, *places]
    run_contextvqa(*enqueue)
    work_off(connection, lambda _: BAD, places)
    lose(connection, runs_dir, "Say more.")

    done = run_contextvqa("retry", "r", "--all", *places)

    assert done.returncode == 2
    assert "`contextvqa enqueue INPUT --run r`" in done.stderr.splitlines()[-1]
    assert [job.args for job in rq_queue(GENERATE, connection).jobs] == [["r", 2]]
    run_contextvqa(*enqueue)
    assert run_contextvqa("retry", "r", "--all", *places).returncode == 0
    work_off(connection, lambda _: GOOD, places)
    assert status(places) == (2, 0, 0)


def test_a_run_whose_prompts_are_all_lost_is_told_so(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    """A batch of which nothing is left to enqueue once ended in an error of Redis."""
    source = tmp_path / "in.json"
    conversation = [{"from": "human", "value": "Say more."}]
    source.write_bytes(orjson.dumps([{"image": "a.png", "conversation": conversation}]))
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)
    work_off(connection, lambda _: BAD, places)
    lose(connection, runs_dir, "Say more.")

    done = run_contextvqa("retry", "r", "--all", *places)

    assert done.returncode == 2
    assert "1 records were left out because their prompts" in done.stderr.splitlines()[-1]
    assert rq_queue(GENERATE, connection).count == 0


def test_a_prompt_that_travelled_in_its_job_is_found_in_the_rejects_line(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.json"
    rows = [
        {"image": "a.png", "conversation": [{"from": "human", "value": f"Prompt {number}."}]}
        for number in range(1003)
    ]
    source.write_bytes(orjson.dumps(rows))
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)
    work_off(connection, lambda record: BAD if record.prompt else GOOD, places)

    run_contextvqa("retry", "r", "--all", *places)

    prompts = {record.prompt for record in generate(connection, lambda _: GOOD)}
    assert prompts == {"Prompt 1000.", "Prompt 1001.", "Prompt 1002."}


def test_rejects_are_held_back_at_the_high_water_mark_and_a_run_at_rest_takes_no_more(
    runs_dir: Path, source: Path
) -> None:
    # Given a run of `contextvqa run`, complete, whose server has stopped
    directory = RunDirectory(runs_dir, "r")
    with EmbeddedServer(directory.redis_path) as server, connect(server.url) as connection:
        run_contextvqa("enqueue", source, "--run", "r", *ONCE, "--runs-dir", runs_dir)
        places: list[object] = ["--runs-dir", runs_dir, "--redis-url", server.url]
        work_off(connection, lambda record: TEXTS[record.image[0]], places)

    # When rejects are tried again
    one = run_contextvqa(*("retry", "r", "--reason", "image.not_found", "--runs-dir", runs_dir))
    two = run_contextvqa("retry", "r", "--all", "--high-water", 1, "--runs-dir", runs_dir)

    # Then they wait for the next `contextvqa run`, in a server that has stopped again
    assert one.returncode == 0, one.stderr
    assert "run the same `contextvqa run` again" in one.stderr
    assert two.returncode == 5
    assert "3 more were left out" in two.stderr
    assert running_url(directory.redis_path) is None
    with EmbeddedServer(directory.redis_path) as server, connect(server.url) as connection:
        assert [record.image for record in generate(connection, lambda _: GOOD)] == [("gone.png",)]


def test_the_server_of_a_run_at_work_is_used_and_left_running(runs_dir: Path, source: Path) -> None:
    directory = RunDirectory(runs_dir, "r")
    with EmbeddedServer(directory.redis_path) as server, connect(server.url) as connection:
        run_contextvqa("enqueue", source, "--run", "r", *ONCE, "--runs-dir", runs_dir)
        places: list[object] = ["--runs-dir", runs_dir, "--redis-url", server.url]
        work_off(connection, lambda record: TEXTS[record.image[0]], places)

        with directory.alone():
            done = run_contextvqa("retry", "r", "--all", "--runs-dir", runs_dir)

        assert done.returncode == 0, done.stderr
        assert "contextvqa run" not in done.stderr
        assert rq_queue(GENERATE, connection).count == 3


def test_a_run_that_is_about_to_start_its_server_is_not_disturbed(
    runs_dir: Path, source: Path
) -> None:
    directory = RunDirectory(runs_dir, "r")
    with EmbeddedServer(directory.redis_path):
        run_contextvqa("enqueue", source, "--run", "r", *ONCE, "--runs-dir", runs_dir)

    with directory.alone():
        done = run_contextvqa("retry", "r", "--all", "--runs-dir", runs_dir)

    assert done.returncode == 2
    assert "is at work on" in done.stderr


def test_status_counts_a_record_that_is_tried_again_once_and_its_last_line_alone(
    connection: redis.Redis, places: list[object]
) -> None:
    assert run_contextvqa("retry", "r", "--all", *places).returncode == 0
    assert status(places) == (1, 0, 3)

    work_off(connection, lambda record: TEXTS[record.image[0]], places)

    assert status(places) == (1, 3, 0)
    state = orjson.loads(run_contextvqa("status", "r", *places, "--json").stdout)
    assert sum(reject["count"] for reject in state["funnel"]["rejects"].values()) == 3
