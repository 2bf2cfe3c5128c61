"""`contextvqa alive`: success means that a daemon of this host beats, and nothing else does."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contextvqa.queueing.queues import REFINE, claimants_key, worker_key
from contextvqa.queueing.reaper import process_identity
from tests.support import clean_environment, contextvqa, run_contextvqa, wait_until


@pytest.fixture
def refiner(redis_url: str, runs_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    places = ("--redis-url", redis_url, "--runs-dir", runs_dir)
    with subprocess.Popen(
        contextvqa("refiner", *places), stderr=subprocess.DEVNULL, env=clean_environment()
    ) as process:
        yield process
        process.kill()


def look(redis_url: str, queue: str = REFINE) -> subprocess.CompletedProcess[str]:
    return run_contextvqa("alive", queue, "--redis-url", redis_url)


def test_a_daemon_is_alive_from_its_first_heartbeat_until_it_has_stopped(
    refiner: subprocess.Popen[bytes], redis_url: str
) -> None:
    wait_until(lambda: look(redis_url).returncode == 0)
    assert look(redis_url, "generate").returncode == 3

    refiner.terminate()
    assert refiner.wait() == 0

    done = look(redis_url)
    assert done.returncode == 3
    assert "on queue refine had a heartbeat in the last 15 s" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_daemon_that_hangs_is_not_alive_until_it_goes_on(
    refiner: subprocess.Popen[bytes], redis_url: str, connection: redis.Redis
) -> None:
    wait_until(lambda: look(redis_url).returncode == 0)

    # When it hangs until its heartbeat has expired
    refiner.send_signal(signal.SIGSTOP)
    (name,) = connection.hkeys(claimants_key(REFINE))
    connection.delete(worker_key(name.decode()))
    assert look(redis_url).returncode == 3

    refiner.send_signal(signal.SIGCONT)
    wait_until(lambda: look(redis_url).returncode == 0)


def test_a_daemon_of_another_host_is_not_ours(redis_url: str, connection: redis.Redis) -> None:
    for process, code in ((process_identity(), 0), (f"{process_identity()}-elsewhere", 3)):
        connection.hset(claimants_key(REFINE), "somebody", process)
        connection.hset(worker_key("somebody"), "birth", "now")

        assert look(redis_url).returncode == code
