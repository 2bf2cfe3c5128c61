"""One deployment, whose images are built once; whoever starts it leaves it stopped."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.compose import stand_ins
from tests.compose.docker import Deployment, running_docker

#: Nobody's number, where the tests run as root: containers need no entry in any list of users.
OWNER = os.getuid() or 4321


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose images are built."""
    with running_docker(tmp_path_factory.mktemp("docker")):
        wheels = stand_ins.prepare()
        directory = tmp_path_factory.mktemp("contextvqa-built")
        deployment = Deployment(directory, OWNER, stand_ins.CHOICES)
        pip = directory / "docker" / "pip"
        (pip / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /pip/wheels\n")
        # Our own is built from the deployment's sources.
        ours = shutil.ignore_patterns("contextvqa-*", ".*")
        shutil.copytree(wheels, pip / "wheels", ignore=ours)
        deployment.do("build")
        yield deployment
        deployment.remove()
        # pytest keeps the directories of three sessions, and this is nearly a gigabyte.
        shutil.rmtree(pip / "wheels")


@pytest.fixture(scope="module")
def up(built: Deployment) -> Iterator[Deployment]:
    """The deployment that `docker compose up` has started."""
    built.do("up", "-d")
    yield built
    built.remove()
