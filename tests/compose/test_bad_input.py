"""What is wrong with a deployment is said in one line, and nothing goes on as if it were right."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.docker import Deployment, checked, run, said
from tests.support import wait_until

pytestmark = pytest.mark.timeout(1800)

ENQUEUE = ("cli", "enqueue", "/data/sample_data.json", "--run", "r")


@pytest.fixture(scope="module")
def queue(built: Deployment) -> Iterator[Deployment]:
    """A deployment with nothing running but its queue."""
    built.do("up", "-d", "redis")
    yield built
    built.remove()


@pytest.fixture
def directory(queue: Deployment, tmp_path: Path) -> Path:
    """A directory of the deployment's owner."""
    os.chown(tmp_path, queue.owner, queue.owner)
    return tmp_path


def attempt(queue: Deployment, *command: str, **choices: Path) -> subprocess.CompletedProcess[str]:
    """Run one container of a service to its end, with these choices in place of those in .env."""
    done = queue.compose("run", "--rm", "-T", "--no-deps", *command, choices=choices)
    assert queue.containers() == queue.containers("redis")
    return done


def a_secret(queue: Deployment, directory: Path, content: str, mode: int = 0o400) -> Path:
    """Return another secret of the deployment's owner."""
    path = directory / "other_secret"
    path.write_text(content)
    path.chmod(mode)
    os.chown(path, queue.owner, queue.owner)
    return path


def test_without_choices_compose_says_where_they_come_from(
    built: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()

    done = built.compose("--env-file", tmp_path / "empty", "config")

    assert done.returncode != 0
    (line,) = said(done)
    assert "cp .env.example .env" in line


def test_a_secret_that_is_missing_is_named_and_nothing_is_started(queue: Deployment) -> None:
    elsewhere = queue.secret.with_name("elsewhere")
    queue.remove()
    queue.secret.rename(elsewhere)
    try:
        done = queue.compose("up", "-d")
        left = queue.containers()
    finally:
        elsewhere.rename(queue.secret)
        queue.remove()
        queue.do("up", "-d", "redis")

    assert done.returncode != 0
    assert f"does not exist: {queue.secret}" in done.stderr
    assert left == []


@pytest.mark.parametrize("command", [("refiner",), ("worker-cpu",), ENQUEUE])
def test_a_wrong_password_is_refused(
    queue: Deployment, directory: Path, command: tuple[str, ...]
) -> None:
    done = attempt(queue, *command, REDIS_PASSWORD_FILE=a_secret(queue, directory, "open barley\n"))

    assert done.returncode == 3
    (line,) = said(done)
    assert "password" in line
    assert "barley" not in line


@pytest.mark.parametrize("service", ["redis", "refiner", "worker-cpu"])
@pytest.mark.parametrize(("content", "mode", "found"), [("\n", 0o400, "empty"), ("x\n", 0, "")])
def test_a_secret_that_holds_nothing_or_cannot_be_read_is_refused(
    queue: Deployment, directory: Path, service: str, content: str, mode: int, found: str
) -> None:
    done = attempt(queue, service, REDIS_PASSWORD_FILE=a_secret(queue, directory, content, mode))

    assert done.returncode == 2
    (line,) = said(done)
    assert "/run/secrets/redis_password" in line
    assert found in line


def test_runs_that_cannot_be_written_are_refused_before_anything_is_enqueued(
    queue: Deployment, directory: Path
) -> None:
    directory.chmod(0o500)

    done = attempt(queue, *ENQUEUE, RUNS_DIR=directory)

    assert done.returncode == 2
    (line,) = said(done)
    assert "/runs/r" in line


def test_a_queue_that_cannot_be_written_is_refused(queue: Deployment, directory: Path) -> None:
    directory.chmod(0o500)

    # Not by docker-compose, which gives another container of a service the volumes of the first.
    places = (f"{queue.secret}:/run/secrets/redis_password:ro", f"{directory}:/store")
    volumes = [word for place in places for word in ("--volume", place)]
    done = run("docker", "run", "--rm", "--user", queue.owner, *volumes, "contextvqa-redis")

    assert done.returncode == 2
    (line,) = said(done)
    assert "/store" in line


@pytest.mark.parametrize("command", [("refiner",), ("worker-cpu",), ENQUEUE])
def test_a_server_that_evicts_keys_is_refused(queue: Deployment, command: tuple[str, ...]) -> None:
    (redis,) = queue.containers("redis")
    ask = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli config set maxmemory-policy "
    checked("docker", "exec", redis, "sh", "-c", ask + "allkeys-lru")
    try:
        done = attempt(queue, *command)
    finally:
        checked("docker", "exec", redis, "sh", "-c", ask + "noeviction")

    assert done.returncode == 3
    (line,) = said(done)
    assert "noeviction" in line


def test_a_server_that_cannot_start_starts_nobody_else(queue: Deployment) -> None:
    queue.remove()
    password = queue.secret.read_text()
    queue.secret.chmod(0o600)
    queue.secret.write_text("")
    try:
        done = queue.compose("up", "-d")
        wait_until(lambda: "is empty" in queue.do("logs", "redis"))
        started = [queue.containers(service) for service in ("refiner", "worker-cpu")]
    finally:
        queue.secret.write_text(password)
        queue.remove()
        queue.do("up", "-d", "redis")

    assert done.returncode != 0
    assert started == [[], []]
