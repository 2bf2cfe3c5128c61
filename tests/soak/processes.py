"""The processes of a deployment's containers, seen from outside, and the memory of each."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.compose.docker import checked

PROC = Path("/proc")
#: What a container may write besides its mounts; both are memory.
TMPFS = ("/tmp", "/dev/shm")  # noqa: S108 - of containers
#: What a process is called that has this word in its command line.
NAMES = {
    "docker-init": "init",
    "worker.decoder": "decoder",
    "resource_tracker": "resource tracker",
    "forkserver": "fork server",
    "EngineCore": "engine",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The memory of one process, or that in the tmpfs of a container, at one moment."""

    #: Container, then which of its processes: "refiner 1".
    role: str
    #: Two lives of one role have two pids.
    pid: int
    #: Proportional set size: shared pages count in parts.
    num_bytes: int


def running(project: str) -> dict[str, str]:
    """Return the containers of a project that run now: id by role, "refiner 2"."""
    label = "com.docker.compose"
    columns = (
        f'{{{{.ID}}}} {{{{.Label "{label}.service"}}}} {{{{.Label "{label}.container-number"}}}}'
    )
    lines = checked(
        *("docker", "ps", "--no-trunc", "--filter", f"label={label}.project={project}"),
        *("--filter", "status=running", "--format", columns),
    ).splitlines()
    found = {}
    for line in lines:
        # The container of a single command has no number.
        identity, service, *number = line.split()
        role = " ".join([service, *number]) if service == "refiner" else service
        found[role] = identity
    return found


def memory_of(containers: Mapping[str, str]) -> Iterator[Memory]:
    """Look at each process of these containers once; one that ends meanwhile is left out."""
    roles = {identity: role for role, identity in containers.items()}
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            # The second is what a file of a process says that is ending.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                role = _container_of(directory, roles)
                if role is not None:
                    yield from _look(directory, role)


def _container_of(directory: Path, roles: Mapping[str, str]) -> str | None:
    """Return the role of the container that a process is in; its control group bears the id."""
    for line in (directory / "cgroup").read_text().splitlines():
        for word in line.replace("-", "/").replace(".", "/").split("/"):
            if word in roles:
                return roles[word]
    return None


def _look(directory: Path, container: str) -> Iterator[Memory]:
    pid = int(directory.name)
    rollup = (directory / "smaps_rollup").read_text()
    (pss_kb,) = [line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")]
    name = _name(directory)
    role = f"{container} {name}".strip()
    yield Memory(role=role, pid=pid, num_bytes=int(pss_kb) * 1024)
    if _inner_pid(directory) == "1":
        yield Memory(role=f"{container} tmpfs", pid=pid, num_bytes=_tmpfs_bytes(directory))


def _tmpfs_bytes(directory: Path) -> int:
    mounts = [line.split() for line in (directory / "mounts").read_text().splitlines()]
    places = [place for _, place, kind, *_ in mounts if kind == "tmpfs" and place in TMPFS]
    found = [os.statvfs(f"{directory}/root{place}") for place in places]
    return sum((each.f_blocks - each.f_bfree) * each.f_frsize for each in found)


def _name(directory: Path) -> str:
    """Say which process of its container it is; "" for the one that the container is there for."""
    command = _command(directory)
    for word, name in NAMES.items():
        if word in command:
            return name
    parent = PROC / _status(directory, "PPid")
    if "1" in {_inner_pid(directory), _inner_pid(parent)}:
        return ""
    # The worker process is forked off its supervisor; others are programs of their own.
    return "process" if _command(parent) == command else "helper"


def _command(directory: Path) -> str:
    return (directory / "cmdline").read_bytes().decode("utf-8", "replace")


def _inner_pid(directory: Path) -> str:
    """Return the pid that a process has in its own container."""
    return _status(directory, "NSpid").split()[-1]


def _status(directory: Path, field: str) -> str:
    lines = (directory / "status").read_text().splitlines()
    (value,) = [line.partition(":")[2] for line in lines if line.startswith(f"{field}:")]
    return value.strip()
