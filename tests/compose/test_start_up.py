"""`docker compose up` with something wrong: one line says what, and nothing is left half started."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose import stand_ins
from tests.compose.docker import Deployment, run, said

pytestmark = pytest.mark.timeout(1800)

Wrong = Callable[[Deployment, Path], dict[str, object]]

#: An image whose server says that it is too old.
OLD = """
FROM contextvqa-redis
USER root
RUN printf '#!/bin/sh\\necho Redis server v=6.2.16 sha=00000000:0\\n' > /usr/local/bin/redis-server \
    && chmod 755 /usr/local/bin/redis-server
"""


@pytest.fixture
def stopped(built: Deployment) -> Iterator[Deployment]:
    """A deployment that is not started."""
    yield built
    built.remove()


@pytest.fixture
def directory(built: Deployment, tmp_path: Path) -> Path:
    """A directory of the deployment's owner."""
    os.chown(tmp_path, built.owner, built.owner)
    return tmp_path


def empty_secret(deployment: Deployment, directory: Path) -> dict[str, object]:
    return {"SECRETS_DIR": deployment.secrets_with(directory, "redis_watcher", "\n")}


def secret_of_somebody_else(deployment: Deployment, directory: Path) -> dict[str, object]:
    secrets = deployment.secrets_with(directory, "redis_refiner", "rye\n", mode=0o000)
    return {"SECRETS_DIR": secrets}


def runs_of_somebody_else(_: Deployment, directory: Path) -> dict[str, object]:
    directory.chmod(0o500)
    return {"RUNS_DIR": directory}


def old_server(_: Deployment, directory: Path) -> dict[str, object]:
    stand_ins.build("contextvqa-redis:old", OLD, directory)
    return {"CONTEXTVQA_TAG": "old"}


@pytest.mark.parametrize(
    ("wrong", "found", "cure"),
    [
        (empty_secret, "/run/secrets/redis_watcher is empty", "openssl rand"),
        (secret_of_somebody_else, "cannot read /run/secrets/redis_refiner", "make the secret"),
        (runs_of_somebody_else, "cannot write to /runs, which is RUNS_DIR", "make that directory"),
        (old_server, "REDIS_IMAGE has Redis 6.2", "7.0 or later"),
    ],
)
def test_up_ends_with_one_line_and_starts_nothing(
    stopped: Deployment, directory: Path, wrong: Wrong, found: str, cure: str
) -> None:
    done = stopped.compose("up", "-d", choices=wrong(stopped, directory))

    assert done.returncode != 0
    assert stopped.started() == stopped.containers("check")
    (line,) = said(run("docker", "logs", *stopped.containers("check")))
    assert found in line
    assert cure in line


@pytest.mark.parametrize(
    ("choice", "value", "daemon", "cure"),
    [
        ("CONTEXTVQA_MAX_RETRIES", "many", "refiner", "'many' is not a valid integer"),
        ("CONTEXTVQA_MODEL", "/data/nosuch", "worker-cpu", "/data/nosuch"),
    ],
)
def test_a_setting_that_a_daemon_would_stop_at_again_and_again_is_said_once(
    stopped: Deployment, choice: str, value: str, daemon: str, cure: str
) -> None:
    done = stopped.compose("up", "-d", daemon, choices={choice: value})

    assert done.returncode != 0
    *_, line = said(run("docker", "logs", *stopped.containers(f"check-{daemon}")))
    assert line.startswith("contextvqa: error: ")
    assert cure in line
    assert not stopped.is_running(daemon)
    assert not stopped.is_running(f"check-{daemon}")


def test_a_port_that_is_taken_is_named_and_the_dashboard_is_not_started(
    stopped: Deployment,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = stopped.compose("up", "-d", "dashboard", choices={"DASHBOARD_PORT": port})

    assert done.returncode != 0
    assert any(f"127.0.0.1:{port}" in line and "in use" in line for line in said(done))
    assert not stopped.is_running("dashboard")
