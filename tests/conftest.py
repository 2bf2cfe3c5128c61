"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect

# Machines are shared: how long an example takes says nothing of what it tests.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One real server for the whole session, on which no role asks for more than it may."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
        denials = connect(server.url).acl_log()
        assert [denial for denial in denials if denial["reason"] in {"command", "key"}] == []


@pytest.fixture
def redis_url(server: EmbeddedServer) -> str:
    """The server, empty."""
    connect(server.url).flushall()
    return server.url


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    """A connection to the empty server."""
    with connect(redis_url) as connection:
        yield connection


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Where runs go."""
    return tmp_path / "runs"
