"""One deployment, whose images are built once; whoever starts it leaves it stopped."""

from collections.abc import Iterator

import pytest

from tests.compose.building import built_deployment
from tests.compose.docker import Deployment


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose images are built."""
    directory = tmp_path_factory.mktemp("docker") / "contextvqa-built"
    with built_deployment(directory) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def up(built: Deployment) -> Iterator[Deployment]:
    """The deployment that `docker compose up` has started."""
    built.do("up", "-d")
    yield built
    built.remove()
