"""Whatever somebody wrote into Redis: one clear line or none, no traceback, and no forged one."""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import redis
from rq import command as rq_command
from rq import suspension
from rq.worker import BaseWorker

from contextvqa import cli
from contextvqa.errors import RunError, TransientError
from contextvqa.gates import Quality
from contextvqa.queueing.daemon import ConcurrentWorker
from contextvqa.queueing.jobs import Kind, job_id, run_and_key
from contextvqa.queueing.queues import (
    GENERATE,
    PAUSED,
    REFINE,
    OrjsonSerializer,
    job_key,
    prompts_key,
    rq_queue,
    run_key,
)
from contextvqa.queueing.reaper import host_identity
from contextvqa.queueing.runs import Runs
from contextvqa.records import ImageRecord, prompt_digest, record_key, to_payload
from contextvqa.settings import Daemon, Sampling
from contextvqa.storage.run_directory import RunDirectory
from refiner.stage import Refine
from tests.stages import BURST, EchoStage, enqueue, pending, serve, until
from tests.support import ROOT, clean_environment, generation_of, read_lines

#: What a terminal obeys, and a line of ours that somebody else wrote.
FORGED = "\x1b]0;owned\x07\x1b[31m\nrun test: 9 accepted"
ESCAPED = r"\x1b]0;owned\x07\x1b[31m\nrun test: 9 accepted"

Poison = Callable[[redis.Redis], object]


def worker(name: str, **fields: object) -> Poison:
    """Return what registers a worker with these fields."""
    known = {"birth": "2026-01-01T00:00:00.000000Z", "queues": GENERATE, "state": "idle"}

    def register(connection: redis.Redis) -> None:
        connection.hset(f"rq:worker:{name}", mapping=known | fields)  # type: ignore[arg-type]
        connection.sadd("rq:workers", f"rq:worker:{name}")

    return register


def pause_with(data: str | bytes) -> Poison:
    return lambda connection: connection.hset(PAUSED, "test", data)  # type: ignore[arg-type]


def all_of(*poisons: Poison) -> Poison:
    return lambda connection: [poison(connection) for poison in poisons]


ALLOWED_FOR = {
    "a pause that is no JSON": pause_with("because"),
    "a pause of other fields": pause_with('{"why": 1}'),
    "a pause that steers the terminal": pause_with(
        orjson.dumps({"reason": FORGED, "message": FORGED, "by": FORGED, "at": FORGED})
    ),
    "counts that are no numbers": worker(
        "w", successful_job_count="many", failed_job_count="9" * 5000
    ),
    "dates that are no dates": worker("w", birth="yesterday", last_heartbeat="never"),
    "bytes that are no text": worker("w", state=b"\xff\xfe", queues=b"\xff"),
    "a worker that steers the terminal": worker(FORGED, state=FORGED, queues=FORGED),
    "a worker that is no hash": all_of(
        lambda connection: connection.set("rq:worker:w", "x"),
        lambda connection: connection.sadd("rq:workers", "rq:worker:w", "nonsense", b"\xff"),
    ),
    "keys that are none": lambda connection: connection.sadd(
        "contextvqa:pending:test", b"\xff", "no key", FORGED
    ),
    "registries of ghosts": lambda connection: [
        connection.zadd(f"rq:{registry}:{queue}", {"ghost": 1e12, "a:b": 1e12, b"\xff": 1e12})
        for registry in ("wip", "deferred", "finished", "failed", "scheduled")
        for queue in (GENERATE, REFINE)
    ],
    "claimants that are no processes": lambda connection: connection.hset(
        "contextvqa:claimants:generate",
        mapping={"a": f"{'9' * 5000}@{host_identity()}", b"\xff": b"\xff@", "c": FORGED},
    ),
    "a scheduler's lock": lambda connection: connection.set("rq:scheduler-lock:generate", "1"),
}


@pytest.fixture
def places(connection: redis.Redis, redis_url: str, runs_dir: Path) -> list[str]:
    """A run with three records on their way; the options that name its places."""
    config = RunDirectory(runs_dir, "test").begin(
        "m", Sampling(), "in.json", Quality(max_attempts=1)
    )
    Runs(connection).store(config)
    enqueue(connection, runs_dir, 3)
    return ["--redis-url", redis_url, "--runs-dir", str(runs_dir)]


@pytest.mark.parametrize("poison", ALLOWED_FOR.values(), ids=ALLOWED_FOR)
def test_what_somebody_wrote_is_shown_as_it_is_and_costs_no_record(
    connection: redis.Redis,
    places: list[str],
    poison: Poison,
    capsys: pytest.CaptureFixture[str],
) -> None:
    poison(connection)

    # When people look
    assert cli.main(["status", "test", *places]) == 0
    assert cli.main(["wait", "test", "--timeout-s", "0", *places]) == 5
    assert cli.main(["audit", "test", *places]) in {0, 5}

    # Then no terminal is steered, and no line is another's
    told = capsys.readouterr()
    said = told.out + told.err
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    assert "\nrun test: 9 accepted" not in said
    assert "run test: 0 accepted" in told.out

    # And a daemon does its work
    connection.delete(PAUSED)
    stage = EchoStage()
    serve(connection, stage)
    assert sorted(stage.executed) == [1, 2, 3]


@pytest.mark.parametrize("key", [PAUSED, "rq:queue:generate", "rq:wip:generate", "rq:workers"])
def test_a_key_of_another_type_ends_whoever_needs_it_in_one_line_that_names_it(
    connection: redis.Redis, places: list[str], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.delete(key)
    connection.set(key, "x")

    assert cli.main(["status", "test", *places]) == 3

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("contextvqa: error: Redis: WRONGTYPE ")
    assert line.endswith(f" {key})")


def test_a_daemon_that_meets_a_key_of_another_type_ends_in_one_line(
    connection: redis.Redis, places: list[str], runs_dir: Path
) -> None:
    connection.set("contextvqa:claimed:refine:w", "x")

    done = subprocess.run(
        [sys.executable, "-m", "contextvqa", "refiner", "--burst", *places],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )

    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith(" (LRANGE contextvqa:claimed:refine:w)\n")
    assert runs_dir.exists()


@pytest.mark.parametrize("data", [b"\xff{", b"[]", b'{"run": "../../x"}'])
def test_a_configuration_that_is_none_pauses_its_run_and_enqueue_writes_it_again(
    connection: redis.Redis, places: list[str], runs_dir: Path, data: bytes
) -> None:
    assert places
    config = RunDirectory(runs_dir, "test").read_config()
    assert config is not None
    record = record_of("Write.")
    connection.hset(run_key("test"), "config", data)

    with pytest.raises(RunError, match="enqueue the run's input again"):
        Runs(connection).prompt_of(record)
    Runs(connection).store(config)

    assert Runs(connection).prompt_of(record) == (config, "Write.")


@pytest.mark.parametrize("data", [b"Write something else.", b"\xff\xfe"])
def test_a_prompt_that_is_another_than_its_digest_names_is_never_asked(
    connection: redis.Redis, places: list[str], data: bytes
) -> None:
    assert places
    connection.hset(prompts_key("test"), prompt_digest("Write."), data)

    with pytest.raises(TransientError, match="enqueue it again"):
        Runs(connection).prompt_of(record_of("Write."))


def record_of(prompt: str) -> ImageRecord:
    image = ("1.png",)
    return ImageRecord(
        run="test",
        key=record_key(None, image, prompt),
        id=1,
        image=image,
        prompt_digest=prompt_digest(prompt),
    )


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else []


def refine(connection: redis.Redis, runs_dir: Path, kind: Kind, arguments: object) -> str:
    """Have a refiner take a job that somebody made by hand."""
    identifier = job_id("test", record_of("Write.").key, kind)
    call = ["refiner.refine", None, [], arguments]
    data = zlib.compress(json.dumps(call).encode())
    connection.hset(job_key(identifier), mapping={"status": "queued", "data": data})
    connection.rpush(rq_queue(REFINE, connection).key, identifier)
    stage = Refine(runs_dir)
    asyncio.run(ConcurrentWorker(stage, connection, Daemon(), BURST).serve())
    return identifier


REJECTION = {"stage": "generate", "reason": "image.not_found", "message": "gone"}
REFUSED = {
    "checks that nobody can read": {"checks": {"gate.loop": 7}},
    "checks without end": {"checks": {"gate.loop": nested(300)}},
    "a reason that there is not": {"reason": "because"},
    "a digest that is a path": {"record": {"prompt_digest": "../../secret"}},
    "a digest with a NUL byte": {"record": {"prompt_digest": "0123456789abcde\0"}},
    "an attempt beyond counting": {"record": {"attempt": 2**31}},
    "another run's name": {"record": {"run": "../../x"}},
    "an id of another kind": {"record": {"id": ["x"]}},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_a_job_that_would_spoil_the_runs_files_is_refused(
    connection: redis.Redis, places: list[str], runs_dir: Path, fields: dict[str, object]
) -> None:
    record = to_payload(record_of("Write."))
    of_record = fields.get("record", {})
    assert isinstance(of_record, dict)
    rejection = REJECTION | fields | {"record": record | of_record}

    identifier = refine(connection, runs_dir, Kind.REJECT, {"rejection": rejection})

    assert connection.hget(job_key(identifier), "status") == b"failed"
    assert read_lines(runs_dir / "test" / "rejects.jsonl") == []
    assert not (runs_dir.parent / "x").exists()
    assert cli.main(["status", "test", *places]) == 0


def test_a_rejection_that_steers_the_terminal_is_shown_escaped(
    connection: redis.Redis,
    places: list[str],
    runs_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = to_payload(record_of("Write.")) | {"id": FORGED}
    rejection = REJECTION | {"message": FORGED, "stage": FORGED, "record": record}

    refine(connection, runs_dir, Kind.REJECT, {"rejection": rejection})

    assert cli.main(["status", "test", *places]) == 0
    told = capsys.readouterr().out
    assert all(sign.isprintable() or sign == "\n" for sign in told)
    assert ESCAPED in told
    assert "\nrun test: 9 accepted" not in told


@pytest.mark.parametrize("when", ["yesterday", "2999-01-01", "\0", "2026-13-01T00:00:00+00:00"])
def test_a_result_that_lies_about_its_time_costs_the_rate_alone(
    connection: redis.Redis, places: list[str], runs_dir: Path, when: str
) -> None:
    generation = to_payload(generation_of(record_of("Write."), ARTICLE)) | {"generated_at": when}

    refine(connection, runs_dir, Kind.REFINE, {"generation": generation})

    assert len(read_lines(runs_dir / "test" / "results.jsonl")) == 1
    assert cli.main(["status", "test", *places]) == 0


ARTICLE = """The plate is an old plate of blue and white porcelain that hangs in the third room of the
museum, where it has hung since the house was built and opened.

Question: Where does the plate hang?
Answer: in the third room
"""


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x1e\x0b\x0c", "\0", "\x1b[2J"])
def test_no_sign_of_a_model_makes_two_lines_of_one(
    connection: redis.Redis, places: list[str], runs_dir: Path, sign: str
) -> None:
    assert places
    text = f'{ARTICLE}{sign}{{"id": 666}}{sign}\n{{"id": 667}}\n'
    generation = to_payload(generation_of(record_of("Write."), text))

    refine(connection, runs_dir, Kind.REFINE, {"generation": generation})

    lines = [
        line
        for name in ("results", "rejects")
        for line in read_lines(runs_dir / "test" / f"{name}.jsonl")
    ]
    assert [line["id"] for line in lines] == [1]


def test_the_commands_of_rq_to_a_worker_stop_no_daemon(
    connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)

    async def command(record: ImageRecord) -> None:
        (name,) = (w.name for w in BaseWorker.all(connection, serializer=OrjsonSerializer))
        rq_command.send_shutdown_command(connection, name)
        rq_command.send_kill_horse_command(connection, name)
        connection.publish(f"rq:pubsub:{name}", b"\x80\x04.")
        identifier = job_id(record.run, record.key, Kind.GENERATE)
        rq_command.send_stop_job_command(connection, identifier, OrjsonSerializer)

    stage = EchoStage(before=command)
    daemon = serve(connection, stage)

    assert sorted(stage.executed) == [1, 2, 3]
    assert daemon.num_settled == 3


def test_a_suspended_server_is_waited_for(connection: redis.Redis, runs_dir: Path) -> None:
    enqueue(connection, runs_dir, 3)
    suspension.suspend(connection)
    stage = EchoStage()

    async def look() -> None:
        daemon = ConcurrentWorker(stage, connection, Daemon(), BURST)
        serving = asyncio.create_task(daemon.serve())
        await until(lambda: BaseWorker.count(connection))
        await until(lambda: daemon.is_suspended)
        assert stage.executed == []
        suspension.resume(connection)
        await serving

    asyncio.run(look())

    assert sorted(stage.executed) == [1, 2, 3]


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_a_worker_of_stock_rq_runs_nothing_and_enqueue_heals_what_it_took(
    connection: redis.Redis, redis_url: str, runs_dir: Path, serializer: str
) -> None:
    enqueue(connection, runs_dir, 2)
    name = {"pickle": "DefaultSerializer", "json": "JSONSerializer"}[serializer]
    worker = ["worker", "--burst", "--url", redis_url, "-S", f"rq.serializers.{name}", GENERATE]

    done = subprocess.run(
        [sys.executable, "-m", "rq.cli", *worker],
        capture_output=True,
        check=False,
        env=clean_environment(),
        cwd=ROOT,
    )

    # It takes the jobs, fails to find a function, and fails them
    assert done.returncode == 0
    failed = rq_queue(GENERATE, connection).failed_job_registry.get_job_ids(cleanup=False)
    assert [run_and_key(identifier) is not None for identifier in failed] == [True, True]
    assert pending(connection) == 2

    # Nobody carries the records any more, until the same input is enqueued again
    assert enqueue(connection, runs_dir, 2).counts.enqueued == 2
    stage = EchoStage()
    serve(connection, stage)
    assert sorted(stage.executed) == [1, 2]
