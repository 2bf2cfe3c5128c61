"""
Base images and packages for a machine that can reach no image registry.

One image is made from Debian's packages; the Dockerfile takes its name as an argument. Packages are
fetched by this machine's own pip, however that is configured, so that a build needs no network.
Docker keeps the one, `build/compose` the others.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.compose.docker import checked, environment, run
from tests.support import ROOT

KEPT = ROOT / "build" / "compose"
IMAGE = "contextvqa-stand-in:bookworm"
PACKAGES = "ca-certificates,libnuma1,python3,python3-pip,redis-server"
#: For .env.
CHOICES = {"PYTHON_IMAGE": IMAGE, "REDIS_IMAGE": IMAGE}


def prepare() -> Path:
    """Return a directory of wheels, and have the base image in Docker."""
    with ThreadPoolExecutor() as pool:
        image, wheels = pool.submit(_make_image), pool.submit(_fetch_wheels)
        image.result()
        return wheels.result()


def build(image: str, dockerfile: str, directory: Path) -> None:
    """Have an image in Docker that stands on others here; what it copies lies in the directory."""
    (directory / "Dockerfile").write_text(dockerfile)
    checked("docker", "build", "--tag", image, directory)


def _make_image() -> None:
    if run("docker", "image", "inspect", IMAGE).returncode == 0:
        return
    root = KEPT / "root"
    checked("rm", "-rf", root)
    checked("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
    with subprocess.Popen(
        ["tar", "-C", root, "--exclude=*.deb", "-c", "."], stdout=subprocess.PIPE
    ) as tar:
        subprocess.run(
            ["docker", "import", "--change", "ENV LANG=C.UTF-8", "-", IMAGE],
            stdin=tar.stdout,
            stdout=subprocess.DEVNULL,
            env=environment(),
            check=True,
        )
    assert tar.returncode == 0
    checked("rm", "-rf", root)


def _fetch_wheels() -> Path:
    wheels = KEPT / "wheels"
    # Written when all are there; says what they were fetched for.
    complete = wheels / ".complete"
    wanted = (ROOT / "pyproject.toml").read_text()
    if not complete.exists() or complete.read_text() != wanted:
        wheels.mkdir(parents=True, exist_ok=True)
        # Debian 12's Python is older than this machine's may be, and needs one package besides.
        needed = [f"{ROOT}[cpu,dashboard]", "hatchling", "async-timeout"]
        checked(sys.executable, "-m", "pip", "wheel", "--wheel-dir", wheels, *needed)
        complete.write_text(wanted)
    return wheels
