"""What is wrong with a deployment is said in one line, and nothing goes on as if it were right."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.docker import Deployment, run, said

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
    assert {*queue.containers()} == {*queue.containers("check", "redis")}
    return done


def test_without_choices_compose_says_where_they_come_from(
    built: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()

    done = built.compose("--env-file", tmp_path / "empty", "config")

    assert done.returncode != 0
    (line,) = said(done)
    assert "cp .env.example .env" in line


def test_a_secret_that_is_missing_is_named_and_nothing_is_started(queue: Deployment) -> None:
    secret = queue.secrets_dir / "redis_worker"
    elsewhere = secret.with_name("elsewhere")
    queue.remove()
    secret.rename(elsewhere)
    try:
        done = queue.compose("up", "-d")
        left = queue.containers()
    finally:
        elsewhere.rename(secret)
        queue.remove()
        queue.do("up", "-d", "redis")

    assert done.returncode != 0
    assert f"does not exist: {secret}" in done.stderr
    assert left == []


@pytest.mark.parametrize(
    ("role", "command"),
    [("refiner", ("refiner",)), ("worker", ("worker-cpu",)), ("producer", ENQUEUE)],
)
def test_a_wrong_password_is_refused(
    queue: Deployment, directory: Path, role: str, command: tuple[str, ...]
) -> None:
    secrets = queue.secrets_with(directory, f"redis_{role}", "open barley\n")

    done = attempt(queue, *command, SECRETS_DIR=secrets)

    assert done.returncode == 3
    (line,) = said(done)
    assert "password" in line
    assert "barley" not in line


@pytest.mark.parametrize(
    ("service", "secret"),
    [
        ("redis", "redis_watcher"),
        ("refiner", "redis_refiner"),
        ("worker-cpu", "redis_worker"),
    ],
)
@pytest.mark.parametrize(("content", "mode", "found"), [("\n", 0o400, "empty"), ("x\n", 0, "")])
def test_a_secret_that_holds_nothing_or_cannot_be_read_is_refused(
    queue: Deployment,
    directory: Path,
    service: str,
    secret: str,
    content: str,
    mode: int,
    found: str,
) -> None:
    secrets = queue.secrets_with(directory, secret, content, mode)

    done = attempt(queue, service, SECRETS_DIR=secrets)

    assert done.returncode == 2
    (line,) = said(done)
    assert f"/run/secrets/{secret}" in line
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
    volume = ("--volume", f"{directory}:/store")
    done = run("docker", "run", "--rm", "--user", queue.owner, *volume, "contextvqa-redis")

    assert done.returncode == 2
    (line,) = said(done)
    assert "/store" in line


def test_a_server_that_evicts_keys_is_refused(queue: Deployment) -> None:
    # No user may set it otherwise while the server runs.
    start = (queue.directory / "docker" / "redis" / "redis-start").read_text()
    evicting = queue.directory / "redis-start"
    evicting.write_text(start.replace("noeviction", "allkeys-lru"))
    evicting.chmod(0o755)
    volumes = [f"{evicting}:/usr/local/bin/redis-start:ro"]
    override = {"services": {"redis": {"volumes": volumes}}}
    (queue.directory / "evicting.yml").write_text(json.dumps(override))
    queue.do("-f", "docker-compose.yml", "-f", "evicting.yml", "up", "-d", "redis")
    try:
        ended = [attempt(queue, *command) for command in (("refiner",), ("worker-cpu",), ENQUEUE)]
    finally:
        queue.do("up", "-d", "redis")

    for done in ended:
        assert done.returncode == 3
        (line,) = said(done)
        assert "noeviction" in line
