"""The Docker of this machine, and one deployment on it as its owner has it."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support import FLAGS, ROOT, wait_until

#: What a deployment is made of; the build needs no more.
SOURCES = [
    *("docker-compose.yml", "Dockerfile", ".dockerignore", ".env.example", "docker", "monitoring"),
    *("pyproject.toml", "README.md", "LICENSE", "contextvqa", "producer", "refiner", "worker"),
]
#: All that docker-compose.yml has: Compose v2 leaves alone what none of them starts.
PROFILES = "cli,cpu,dashboard,gpu,monitoring"
#: When a container was started, and what that is of one that never was.
STARTED_AT, NEVER = "{{.State.StartedAt}}", "0001-01-01T00:00:00Z"
#: Lines that docker-compose itself writes to stderr, one per container that it makes.
PROGRESS = ("Creating ", "Starting ", "Container ", "Network ", "Volume ")


def run(
    *command: object, directory: Path | None = None, choices: Mapping[str, object] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it says is kept."""
    return subprocess.run(
        list(map(str, command)),
        cwd=directory,
        env=environment() | {name: str(value) for name, value in (choices or {}).items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def checked(*command: object) -> str:
    """Run a command that must succeed; return its output."""
    done = run(*command)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def environment() -> dict[str, str]:
    """Return our environment with BuildKit, and without a deployment's choices."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("CONTEXTVQA_", "COMPOSE_"))}
    return own | {
        # The client that came with the server builds without a plugin; another may not.
        "PATH": f"/usr/bin:{os.environ['PATH']}",
        "DOCKER_BUILDKIT": "1",
        "COMPOSE_DOCKER_CLI_BUILD": "1",
    }


@cache
def compose_command() -> tuple[str, ...]:
    """Return the command line of Compose v2, else that of docker-compose 1.29."""
    plugin = ("docker", "compose")
    return plugin if run(*plugin, "version").returncode == 0 else ("docker-compose",)


@contextmanager
def running_docker(directory: Path) -> Iterator[None]:
    """Use the daemon that runs, else start one, with the images that this machine has."""
    if run("docker", "info").returncode == 0:
        yield
        return
    with (directory / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--pidfile", directory / "dockerd.pid"],
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
    try:
        wait_until(lambda: run("docker", "info").returncode == 0)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)


class Deployment:
    """
    A directory with a `.env`, and what `docker compose` makes of it.

    Args:
        owner: User and group that the containers run as, and whose the directories are.
        choices: What `.env` says besides, over `.env.example`.

    """

    def __init__(self, directory: Path, owner: int, choices: Mapping[str, object]) -> None:
        self.directory = directory
        self.owner = owner
        self.runs_dir = directory / "runs"
        self.data_dir = directory / "data"
        self.secrets_dir = directory / "secrets"
        self._lay_out()
        self._choose(
            {
                "COMPOSE_PROFILES": "cpu",
                "COMPOSE_PROJECT_NAME": directory.name,
                "CONTEXTVQA_UID": owner,
                "CONTEXTVQA_GID": owner,
                "CONTEXTVQA_MODEL": "/data/model",
                "WORKER_SHM_SIZE": "256mb",
            }
            | choices
        )

    def compose(
        self, *arguments: object, choices: Mapping[str, object] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run docker compose to its end, with these choices in place of those in .env."""
        command = (*compose_command(), *arguments)
        return run(*command, directory=self.directory, choices=choices)

    def do(self, *arguments: object) -> str:
        """Run docker compose, which must succeed; return its output."""
        done = self.compose(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def cli(self, *arguments: object) -> str:
        """Run a contextvqa command, which must succeed; return its output."""
        return self.do("run", "--rm", "-T", "cli", *arguments)

    def containers(self, *services: str) -> list[str]:
        """Return the ids of the containers of these services, of all if none is named."""
        return self.do("ps", "--all", "-q", *services).split()

    def started(self, *services: str) -> list[str]:
        """Return the ids of the containers that have run: Compose v2 makes them all before."""
        return [each for each in self.containers(*services) if inspect(each, STARTED_AT) != [NEVER]]

    def is_running(self, service: str) -> bool:
        """Whether any container of a service runs."""
        states = [inspect(each, "{{.State.Running}}") for each in self.containers(service)]
        return ["true"] in states

    def secrets_with(self, directory: Path, name: str, content: str, mode: int = 0o400) -> Path:
        """Return a copy of the deployment's secrets, with another one of this name."""
        secrets = shutil.copytree(self.secrets_dir, directory / "secrets")
        (secrets / name).write_text(content)
        (secrets / name).chmod(mode)
        for path in secrets.iterdir():
            os.chown(path, self.owner, self.owner)
        return secrets

    def kill(self, container: str) -> None:
        """
        Kill all its processes at once, as the kernel does when memory is short.

        Raises:
            ProcessLookupError: It does not run just now.

        """
        (pid,) = map(int, inspect(container, "{{.State.Pid}}"))
        if not pid:  # which to kill would be we ourselves
            raise ProcessLookupError(container)
        os.kill(pid, 9)

    def num_results(self, name: str) -> int:
        """Return the number of whole lines of a run's results."""
        path = self.runs_dir / name / "results.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def remove(self) -> None:
        """Remove its containers, networks and volumes."""
        everything = ("--volumes", "--remove-orphans", "--timeout", "5")
        self.compose("down", *everything, choices={"COMPOSE_PROFILES": PROFILES})

    def _lay_out(self) -> None:
        for name in SOURCES:
            path = ROOT / name
            if path.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "pip.conf", "wheels")
                shutil.copytree(path, self.directory / name, ignore=ignore)
            else:
                shutil.copy(path, self.directory / name)
        for name in ("images", "model", "sample_data.json"):
            copy = shutil.copytree if (FLAGS / name).is_dir() else shutil.copy
            self.data_dir.mkdir(exist_ok=True)
            copy(FLAGS / name, self.data_dir / name)
        self.runs_dir.mkdir()
        made = run("make", "-f", ROOT / "Makefile", "secrets", directory=self.directory)
        assert made.returncode == 0, made.stderr
        for path in (self.runs_dir, *self.secrets_dir.iterdir()):
            os.chown(path, self.owner, self.owner)

    def _choose(self, choices: Mapping[str, object]) -> None:
        example = (self.directory / ".env.example").read_text()
        lines = [line for line in example.splitlines() if line.partition("=")[0] not in choices]
        lines += [f"{name}={value}" for name, value in choices.items()]
        (self.directory / ".env").write_text("\n".join(lines) + "\n")


def inspect(container: str, template: str) -> list[str]:
    """Return the words of a container's state."""
    return checked("docker", "inspect", "--format", template, container).split()


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what a command said, without docker-compose's own progress and exit code."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    own = ("", str(done.returncode))
    return [line for line in lines if line not in own and not line.startswith(PROGRESS)]
