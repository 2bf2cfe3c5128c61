"""One deployment, whose images are built once; whoever starts it leaves it stopped."""

import os
from collections.abc import Iterator

import pytest

from tests.compose.building import built_deployment
from tests.compose.docker import Deployment

#: Nobody's number, where the tests run as root: containers need no entry in any list of users.
OWNER = os.getuid() or 4321


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose images are built."""
    directory = tmp_path_factory.mktemp("docker") / "contextvqa-built"
    with built_deployment(directory, OWNER) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def up(built: Deployment) -> Iterator[Deployment]:
    """The deployment that `docker compose up` has started."""
    built.do("up", "-d")
    yield built
    built.remove()
