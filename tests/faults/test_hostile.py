"""Whoever can write to Redis gains nothing: no code runs, and no record pays for it."""

import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import redis
from rq import Queue

from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from tests.faults.conftest import MakeWorld
from tests.faults.plan import trials
from tests.faults.world import entries

HUGE_BYTES = 100_000_000
#: What a job that ran code would leave.
TRACE = "run-by-a-job"


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def job(connection: redis.Redis, queue: str, identifier: str, **fields: object) -> None:
    """Put a job into a queue, with whatever in its hash."""
    known = {"status": "queued", "origin": queue, "created_at": "2026-01-01T00:00:00Z"}
    mapping = {name: value for name, value in (known | fields).items() if value is not None}
    connection.hset(f"rq:job:{identifier}", mapping=mapping)
    connection.rpush(f"rq:queue:{queue}", identifier)


def packed(*call: object) -> bytes:
    """Return the data of a job as rq stores it."""
    return zlib.compress(orjson.dumps(call))


def foreign(connection: redis.Redis, queue: str, trace: Path) -> None:
    """Name functions that would do harm."""
    for number, name in enumerate(("os.system", "subprocess.call", "builtins.eval", "")):
        data = packed(name, None, [f"touch {trace}"], {})
        job(connection, queue, f"foreign-{number}", data=data)


def pickled(connection: redis.Redis, queue: str, trace: Path) -> None:
    """Hold pickles, in the format of stock rq and without."""
    Queue(queue, connection=connection).enqueue(os.system, f"touch {trace}", job_id="stock")
    evil = pickle.dumps(Evil(f"touch {trace}"))
    for number, data in enumerate((evil, zlib.compress(evil))):
        job(connection, queue, f"pickled-{number}", data=data)


def malformed(connection: redis.Redis, queue: str, trace: Path) -> None:
    """Break each field, and every level of the data."""
    assert trace
    good = packed("worker.generate" if queue == GENERATE else "refiner.refine", None, [], {})
    fields: list[dict[str, object]] = [
        {"data": b""},
        {"data": b"\xff\xfe"},
        {"data": zlib.compress(b"[")},
        {"data": packed(1, 2, 3, 4)},
        {"data": packed()},
        {"data": packed("worker.generate", None, {}, [])},
        {"data": packed("worker.generate", None, [], {"record": 7})},
        {"data": packed("refiner.refine", None, [], {"generation": {"record": []}})},
        {"data": packed("refiner.refine", None, [], {"rejection": "x"})},
        {"data": good, "created_at": "yesterday"},
        {"data": good, "timeout": "soon"},
        {"data": good, "crash_count": "many"},
        {"data": good, "retry_count": b"\xff"},
        {"data": good, "meta": b"\x80\x04."},
        {"data": good, "execution_id": b"\xff"},
        {"data": good, "origin": None},
        {"data": None},
    ]
    for number, mapping in enumerate(fields):
        job(connection, queue, f"malformed-{number}", **mapping)


def nowhere(connection: redis.Redis, queue: str, trace: Path) -> None:
    """Be no job at all: deleted, of another type, named strangely."""
    assert trace
    name = f"rq:queue:{queue}"
    connection.rpush(name, "deleted", b"\xff\xfe", "", "a:b", "x" * 10_000)


def huge(connection: redis.Redis, queue: str, trace: Path) -> None:
    """Carry far more than a worker can hold of each of its jobs."""
    assert trace
    job(connection, queue, "huge", data=os.urandom(HUGE_BYTES))
    job(connection, queue, "bomb", data=zlib.compress(b'["' + bytes(HUGE_BYTES)))


@pytest.mark.parametrize("attack", [foreign, pickled, malformed, nowhere, huge])
@pytest.mark.parametrize("queue", [GENERATE, REFINE])
def test_a_hostile_job_runs_nothing_fails_alone_and_stops_nobody(
    make_world: MakeWorld,
    tmp_path: Path,
    queue: str,
    attack: Callable[[redis.Redis, str, Path], None],
) -> None:
    trace = tmp_path / TRACE
    for trial in trials("hostile", 1):
        with make_world(trial, entries(10)) as world:
            # Given hostile jobs before good ones
            attack(world.connection, queue, trace)
            hostile = rq_queue(queue, world.connection).count
            assert world.producer().wait() == 0

            # When daemons work, that may not end
            daemons = [world.worker(), world.refiner()]
            world.num_faults = hostile

            # Then all good records have ended, and what is left is failed or gone
            world.finish(daemons, redis_forgot=True)
            assert not trace.exists()
