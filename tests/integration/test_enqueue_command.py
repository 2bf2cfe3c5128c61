"""`contextvqa enqueue`: good rows enter, bad ones are reported, and again changes nothing."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
import redis

from contextvqa.queueing.queues import GENERATE, pending_key, rq_queue, run_key
from contextvqa.queueing.runs import Runs
from contextvqa.records import ImageRecord, from_payload, prompt_digest, to_line
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from contextvqa.storage.run_directory import RunDirectory
from producer.enqueue import Enqueuer
from producer.prompt import DEFAULT_PROMPT
from producer.rows import Row
from tests.support import clean_environment, contextvqa, run_contextvqa, wait_until


def write(path: Path, rows: object) -> Path:
    path.write_bytes(orjson.dumps(rows))
    return path


def numbered(count: int) -> list[Row]:
    return [Row(number=n, id=n, image=("a.png",), prompt="Write.") for n in range(1, count + 1)]


@pytest.fixture
def enqueuer(connection: redis.Redis, runs_dir: Path) -> Enqueuer:
    """That of a run that has just begun."""
    directory = RunDirectory(runs_dir, "r")
    runs = Runs(connection)
    runs.store(directory.begin("m", Sampling(), "in.json"))
    return Enqueuer(connection, directory, runs)


def finish(runs_dir: Path, rows: Iterable[Row]) -> None:
    """Write results of these rows, as a refiner does before it settles their jobs."""
    with RunDirectory(runs_dir, "r").results_path.open("ab") as file:
        file.writelines(to_line({"meta": {"key": row.key}}) for row in rows)


def records(connection: redis.Redis) -> list[ImageRecord]:
    jobs = rq_queue(GENERATE, connection).jobs
    return [from_payload(job.kwargs["record"], ImageRecord) for job in jobs]


def test_the_seeds_rows_enter_with_row_numbers_as_ids_and_the_builtin_prompt(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    conversation = [{"from": "human", "value": "<image>\nSay more."}]
    source = write(
        tmp_path / "in.json",
        [
            {"image": ["a.png"], "conversation": conversation},
            {"image": "b.png"},
            {"image": ["c.png", "d.png"], "id": "two"},
        ],
    )

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    )

    assert (done.returncode, done.stdout) == (0, "")
    assert "3 rows: 3 enqueued, 0 already queued, 0 already done" in done.stderr
    found = records(connection)
    assert [(record.id, record.image) for record in found] == [
        (1, ("a.png",)),
        (2, ("b.png",)),
        ("two", ("c.png", "d.png")),
    ]
    runs = Runs(connection)
    assert [runs.prompt_of(record)[1] for record in found] == [
        "Say more.",
        DEFAULT_PROMPT,
        DEFAULT_PROMPT,
    ]
    assert runs.num_pending("r") == 3


def test_the_prompt_is_stored_once_and_not_in_every_job(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.json", [{"image": f"{number}.png"} for number in range(50)])

    run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    )

    assert connection.hkeys("contextvqa:prompts:r") == [prompt_digest(DEFAULT_PROMPT).encode()]
    assert {record.prompt for record in records(connection)} == {None}
    assert (
        max(connection.memory_usage(job.key) for job in rq_queue(GENERATE, connection).jobs) < 2048
    )


def test_bad_rows_are_reported_with_their_number_and_cost_no_other_row(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = write(
        tmp_path / "in.json", [{"image": "a.png"}, 7, {"img": "b.png"}, {"image": "c.png"}]
    )

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url),
        "--json",
    )

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["row 2", "row 3"]
    assert "2 of 4 rows are bad" in lines[-1]
    assert "Traceback" not in done.stderr
    assert orjson.loads(done.stdout)["enqueued"] == 2
    assert [record.id for record in records(connection)] == [1, 4]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b"hello", "hello"),
        (b"[]", "rows"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused_in_one_line(
    redis_url: str, runs_dir: Path, tmp_path: Path, content: bytes, found: str
) -> None:
    source = tmp_path / "in.json"
    source.write_bytes(content)

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("contextvqa: error: ")
    assert found in done.stderr
    assert not runs_dir.exists()


def test_a_truncated_array_enters_up_to_the_cut(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.json"
    source.write_bytes(b'[{"image": "a.png"}, {"image": "b.png"}, {"ima')

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    )

    assert done.returncode == 2
    assert done.stderr.startswith("row 3: ")
    assert [record.id for record in records(connection)] == [1, 2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://someone:secret@127.0.0.1:1/0", "redis://127.0.0.1:1/0"),
        ("unix:///no/such/socket", "unix:///no/such/socket"),
        ("http://example.org", "http://example.org is no Redis URL"),
        ("redis://127.0.0.1:1/0?password=secret", "redis://127.0.0.1:1/0"),
        ("redis://someone:secret#1@127.0.0.1/0", "127.0.0.1/0 is no Redis URL"),
        ("redis://127.0.0.1:1/0?secret=1", "redis://127.0.0.1:1/0 is no Redis URL"),
    ],
)
def test_an_unreachable_server_is_exit_code_3_with_the_address_and_without_the_password(
    runs_dir: Path, tmp_path: Path, url: str, shown: str
) -> None:
    source = write(tmp_path / "in.json", [{"image": "a.png"}])

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", url)
    )

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert shown in done.stderr
    assert "secret" not in done.stderr


def test_another_fingerprint_is_refused_and_what_differs_is_named(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.json", [{"image": "a.png"}])
    same = ("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    run_contextvqa(*same)

    done = run_contextvqa(*same, "--temperature", "0.1")

    assert done.returncode == 2
    assert "was begun with temperature 0.7, not 0.1" in done.stderr
    assert run_contextvqa(*same).returncode == 0
    assert len(records(connection)) == 1


def test_a_run_begun_before_there_was_a_prompt_order_goes_on_image_first(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    # Given a run whose run.json is of a version that knew one order
    source = write(tmp_path / "in.json", [{"image": "a.png"}])
    same = ("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    run_contextvqa(*same)
    config = orjson.loads((runs_dir / "r" / "run.json").read_bytes())
    assert config["sampling"].pop("prompt_order") == "image-first"
    (runs_dir / "r" / "run.json").write_bytes(orjson.dumps(config))

    # When it is asked for in the other order, and in its own
    other = run_contextvqa(*same, "--prompt-order", "text-first")
    known = run_contextvqa(*same)

    # Then its own goes on
    assert other.returncode == 2
    assert "was begun with prompt_order 'image-first', not 'text-first'" in other.stderr
    assert known.returncode == 0, known.stderr
    assert len(records(connection)) == 1


def test_the_gates_of_a_run_are_kept_and_others_refused(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.json", [{"image": "a.png"}])
    same = ("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)

    assert run_contextvqa(*same, "--gate", "cap=drop", "--min-pairs", 2).returncode == 0

    config = RunDirectory(runs_dir, "r").read_config()
    assert config is not None
    assert (config.quality.action("cap"), config.quality.min_pairs) == ("drop", 2)
    assert RunConfig.decode(connection.hget(run_key("r"), "config") or b"") == config
    done = run_contextvqa(*same)
    assert done.returncode == 2
    assert "was begun with gate cap 'drop', not 'flag', min_pairs 2, not 1" in done.stderr


def test_a_gate_that_there_is_not_is_one_line_and_begins_no_run(
    redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.json", [{"image": "a.png"}])

    done = run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url),
        *("--gate", "capp=drop"),
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--gate 'capp=drop' names no gate; there are truncated," in done.stderr
    assert not (runs_dir / "r").exists()


def test_a_run_of_the_same_name_from_another_directory_is_refused_while_one_is_on_its_way(
    connection: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.json", [{"image": "a.png"}])
    first, second = (
        ("enqueue", source, "--run", "r", "--runs-dir", tmp_path / place, "--redis-url", redis_url)
        for place in ("here", "there")
    )
    assert run_contextvqa(*first).returncode == 0

    done = run_contextvqa(*second)

    assert done.returncode == 2
    assert "another run 'r', begun at " in done.stderr
    assert not (tmp_path / "there" / "r" / "run.json").exists()
    assert len(records(connection)) == 1


def test_an_interrupted_local_run_is_not_enqueued_into_another_server(
    redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    assert redis_url
    (runs_dir / "r" / "redis").mkdir(parents=True)
    source = write(tmp_path / "in.json", [{"image": "a.png"}])

    done = run_contextvqa("enqueue", source, "--run", "r", "--runs-dir", runs_dir)

    assert done.returncode == 3
    assert "the embedded server of" in done.stderr
    assert "is not running" in done.stderr


def test_a_run_name_that_cannot_be_a_job_id_is_refused(redis_url: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in.json", [{"image": "a.png"}])

    done = run_contextvqa(
        *("enqueue", source, "--run", "a/b", "--runs-dir", tmp_path, "--redis-url", redis_url)
    )

    assert done.returncode == 2
    assert "run name 'a/b' cannot be used" in done.stderr


def test_duplicate_rows_are_one_record_and_a_grown_input_adds_only_what_is_new(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"image": "a.png"}\n{"image": "a.png"}\n{"image": "b.png"}\n')
    same = ("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    first = run_contextvqa(*same)
    with source.open("ab") as file:
        file.write(b'{"image": "c.png"}\n')

    second = run_contextvqa(*same)

    assert "3 rows: 2 enqueued" in first.stderr
    assert "1 duplicates" in first.stderr
    assert "4 rows: 1 enqueued, 2 already queued" in second.stderr
    assert [record.image[0] for record in records(connection)] == ["a.png", "b.png", "c.png"]


def test_four_producers_at_once_enqueue_each_record_once(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.json", [{"image": f"{number}.png"} for number in range(3000)])
    same = contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    )

    producers = [
        subprocess.Popen(same, stderr=subprocess.DEVNULL, env=clean_environment()) for _ in range(4)
    ]

    assert [producer.wait() for producer in producers] == [0, 0, 0, 0]
    ids = rq_queue(GENERATE, connection).job_ids
    assert len(ids) == len(set(ids)) == 3000
    assert Runs(connection).num_pending("r") == 3000


def test_the_producer_holds_back_at_the_high_water_mark_and_goes_on_when_there_is_room(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    # Given an input of six batches, and a mark that two of them reach
    source = write(tmp_path / "in.json", [{"image": f"{number}.png"} for number in range(3000)])
    queue = rq_queue(GENERATE, connection)
    same = ("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    command = contextvqa(*same, "--high-water", 1000)
    counts = []

    with subprocess.Popen(command, stderr=subprocess.PIPE, env=clean_environment()) as producer:
        # When nobody works, it does not end
        wait_until(lambda: queue.count >= 1000)
        with pytest.raises(subprocess.TimeoutExpired):
            producer.wait(1)

        # And when somebody does, it goes on
        while producer.poll() is None:
            counts.append(queue.count)
            connection.lpop(queue.key, 50)

    # Then the queue was never deeper than the mark and one batch
    assert producer.returncode == 0
    assert max(counts) <= 1500
    assert Runs(connection).num_pending("r") == 3000


def test_a_run_with_very_many_prompts_stores_a_thousand_and_sends_the_others_along(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    rows = [
        {"image": "a.png", "conversation": [{"from": "human", "value": f"Prompt {number}."}]}
        for number in range(1200)
    ]
    source = write(tmp_path / "in.json", rows)

    run_contextvqa(
        *("enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url)
    )

    assert connection.hlen("contextvqa:prompts:r") == 1000
    reader = Runs(connection)
    prompts = [reader.prompt_of(record)[1] for record in records(connection)]
    assert prompts == [f"Prompt {number}." for number in range(1200)]


def test_prompts_that_redis_lost_while_the_producer_waited_are_written_again(
    connection: redis.Redis, enqueuer: Enqueuer
) -> None:
    # Given a producer that waits for room while Redis loses everything
    rows = numbered(510)

    enqueuer.enqueue(rows, report=print, make_room=connection.flushall)

    # Then whoever claims its records finds their prompt
    (job, *_) = rq_queue(GENERATE, connection).jobs
    record = from_payload(job.kwargs["record"], ImageRecord)
    config, prompt = Runs(connection).prompt_of(record)
    assert (config.run, prompt) == ("r", "Write.")


def test_what_is_done_waits_for_no_room_and_asks_redis_for_no_row(
    connection: redis.Redis, enqueuer: Enqueuer, runs_dir: Path
) -> None:
    # Given a run of which all rows are done but one at the end
    rows = numbered(2000)
    finish(runs_dir, rows[:-1])
    ticks: list[int] = []

    def count_commands() -> int:
        return connection.info("stats")["total_commands_processed"]

    def is_at_the_end() -> None:
        # Then room is made once, after all other rows were looked at with hardly a command
        assert enqueuer.counts.done == 1999
        assert count_commands() - before < 10

    before = count_commands()

    enqueuer.enqueue(rows, print, is_at_the_end, tick=lambda: ticks.append(enqueuer.counts.done))

    assert ticks == [500, 1000, 1500, 1999]
    assert [record.id for record in records(connection)] == [2000]


def test_a_record_that_ended_is_pending_no_more_unless_a_job_still_carries_it(
    connection: redis.Redis, enqueuer: Enqueuer, runs_dir: Path
) -> None:
    # Given two results whose jobs were not settled, one job being lost, and a name that is no key
    rows = numbered(3)
    enqueuer.enqueue(rows, print, make_room=lambda: None)
    finish(runs_dir, rows[:2])
    connection.delete(*connection.keys(f"rq:job:r-{rows[0].key}-*"))
    connection.sadd(pending_key("r"), "no key")

    enqueuer.enqueue([], print, make_room=lambda: None)

    left = {b"no key", *(row.key.encode() for row in rows[1:])}
    assert connection.smembers(pending_key("r")) == left
