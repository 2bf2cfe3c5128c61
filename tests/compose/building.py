"""A deployment whose images are built from this checkout, on a machine that may reach no registry."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.compose import stand_ins
from tests.compose.docker import Deployment, running_docker

#: Nobody's number, where this runs as root: containers need no entry in any list of users.
OWNER = os.getuid() or 4321


@contextmanager
def built_deployment(
    directory: Path, choices: Mapping[str, object] | None = None
) -> Iterator[Deployment]:
    """
    Lay a deployment out in a new directory and build its images; remove it in the end.

    Args:
        choices: What `.env` says besides; which images ours are built on is said already.

    """
    directory.mkdir(parents=True)
    with running_docker(directory):
        wheels = stand_ins.prepare()
        deployment = Deployment(directory, OWNER, stand_ins.CHOICES | dict(choices or {}))
        pip = directory / "docker" / "pip"
        (pip / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /pip/wheels\n")
        # Our own is built from the deployment's sources.
        ours = shutil.ignore_patterns("contextvqa-*", ".*")
        shutil.copytree(wheels, pip / "wheels", ignore=ours)
        try:
            deployment.do("build")
            yield deployment
        finally:
            deployment.remove()
            # Nearly a gigabyte.
            shutil.rmtree(pip / "wheels")
