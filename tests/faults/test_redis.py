"""The server itself: killed, its data cut or lost, its memory full, its policy wrong."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from rq.worker_registration import REDIS_WORKER_KEYS

from contextvqa.errors import UnavailableError
from contextvqa.processes import server as server_module
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect_to_queue
from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.plan import trials
from tests.faults.processes import Child
from tests.faults.report import report
from tests.faults.world import World, entries, wait_for

#: Memory beyond what is used that a full server still gives, in bytes.
SPARE_BYTES = 20_000
#: Rows that keep a producer busy for a while.
NUM_ROWS = 1600


@contextmanager
def own_server(directory: Path, **options: str) -> Iterator[EmbeddedServer]:
    """Run a server that the trial may harm."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    with (
        mock.patch.dict(server_module.OPTIONS, named),
        EmbeddedServer(directory) as server,
    ):
        yield server


def kill(server: EmbeddedServer) -> None:
    """SIGKILL, as the kernel does when memory is short."""
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    server._process = None


def cut_tail(directory: Path, generator: random.Random) -> None:
    """Take a random part of the last writes away, as a power failure does."""
    (file,) = directory.glob("appendonlydir/*.incr.aof")
    data = file.read_bytes()
    file.write_bytes(data[: generator.randint(len(data) // 2, len(data))])


def keep(directory: Path, generator: random.Random) -> None:
    """Every write was synced."""
    assert directory
    assert generator


def lose(directory: Path, generator: random.Random) -> None:
    """Nothing was ever written down."""
    assert generator
    for file in directory.glob("appendonlydir/*"):
        file.unlink()


LOSSES: dict[str, tuple[str, Callable[[Path, random.Random], None] | None]] = {
    "everysec": ("everysec", cut_tail),
    "always": ("always", keep),
    "none": ("no", lose),
    "flushall": ("everysec", None),
}


def test_a_killed_server_costs_no_record_whatever_it_remembers(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    for trial in trials("redis-kill"):
        name = list(LOSSES)[trial.number % len(LOSSES)]
        fsync, lose_some = LOSSES[name]
        directory = tmp_path / f"redis-{trial.number}"
        with (
            own_server(directory, appendfsync=fsync) as server,
            make_world(trial, entries(80), server.url) as world,
        ):
            daemons = start(world)
            wait_for(lambda world=world: world.count_in_flight())
            time.sleep(trial.random.uniform(0, 0.15))
            world.note_fault()
            if lose_some is None:
                world.connection.flushall()
            else:
                kill(server)
                lose_some(directory, trial.random)
                server.start()
            world.finish(daemons, redis_forgot=name != "always")


def start(world: World) -> list[Child]:
    """Start a worker and a refiner on a full queue."""
    world.script = Script(latency_s=(0.01, 0.1))
    assert world.producer().wait() == 0
    refiner = world.refiner()
    # A daemon that finds no server when it starts ends; of the worker, work in flight will tell.
    wait_for(lambda: world.connection.scard(REDIS_WORKER_KEYS))
    return [world.worker(), refiner]


def test_a_server_whose_memory_is_full_costs_time_and_no_record(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    for trial in trials("memory"):
        with (
            own_server(tmp_path / f"redis-{trial.number}") as server,
            make_world(trial, entries(300), server.url) as world,
        ):
            # Given a server whose memory is nearly full
            daemons = start(world)
            wait_for(lambda world=world: world.count_in_flight())
            used = world.connection.info("memory")["used_memory"]
            spare = trial.random.randrange(SPARE_BYTES)
            world.connection.config_set("maxmemory", used + spare)

            # When it refuses what the daemons write
            wait_for(lambda world=world: is_refusing(world))
            world.note_fault()
            time.sleep(trial.random.uniform(0, 0.5))
            world.connection.config_set("maxmemory", 0)

            # Then they go on
            world.finish(daemons)


def test_a_producer_waits_for_a_server_that_went_away_or_is_full(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    for trial in trials("producer-redis"):
        directory = tmp_path / f"redis-{trial.number}"
        with (
            own_server(directory) as server,
            make_world(trial, entries(NUM_ROWS), server.url) as world,
        ):
            # Given a producer in the middle of its input
            producer = world.producer()
            wait_for(lambda world=world: world.connection.llen("rq:queue:generate"))
            world.note_fault()

            # When the server is killed, forgets all, or refuses to write, for a while
            if trial.number % 2:
                world.connection.config_set("maxmemory", 1)
                wait_for(lambda world=world: is_refusing(world))
                world.connection.config_set("maxmemory", 0)
            else:
                kill(server)
                [keep, lose][trial.number // 2 % 2](directory, trial.random)
                server.start()

            # Then it goes on to the end
            assert producer.wait() == 0, producer.words()
            world.finish(redis_forgot=True)


def is_refusing(world: World) -> bool:
    """Whether the server has refused a command for lack of memory."""
    return "errorstat_OOM" in world.connection.info("errorstats")


def test_a_server_that_evicts_keys_is_refused(tmp_path: Path) -> None:
    for _ in trials("eviction", 1):
        with (
            own_server(tmp_path, maxmemory_policy="allkeys-lru") as server,
            pytest.raises(UnavailableError, match="maxmemory-policy allkeys-lru"),
        ):
            connect_to_queue(server.url)
        report.note("eviction")
