"""What the fault tests share: a server of their own, images, and the table at the end."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from contextvqa.processes.server import EmbeddedServer
from contextvqa.progress import Ticker
from tests.faults import plan
from tests.faults.ledger import Entry
from tests.faults.mutations import MUTATIONS
from tests.faults.plan import Trial
from tests.faults.report import report
from tests.faults.world import World, write_images
from tests.support import ROOT

if "MUTATION" in os.environ:
    MUTATIONS[os.environ["MUTATION"]]()

MakeWorld = Callable[..., World]


def pytest_configure(config: pytest.Config) -> None:
    """Say how far a long series is, past pytest's capture of what tests print."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)  # noqa: T201 - progress

    if "FAULTS" in os.environ:
        plan.progress = Ticker(say)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them all, and let a long series take its time: each of its waits is bounded."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and keep it under build/."""
    if report.lines and "MUTATION" not in os.environ:
        terminalreporter.section("faults")
        for line in report.table():
            terminalreporter.write_line(line)
        report.write(ROOT / "build")


@pytest.fixture(scope="session")
def fault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One real server for all trials that do no harm to it."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the images that all trials share."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def make_world(fault_server: EmbeddedServer, images: Path, tmp_path: Path) -> MakeWorld:
    """Return what makes a world for a trial, on the empty server unless another URL is given."""

    def make(trial: Trial, records: list[Entry], url: str | None = None) -> World:
        if url is None:
            url = fault_server.url
            with redis.Redis.from_url(url) as connection:
                connection.flushall()
        directory = Path(tempfile.mkdtemp(dir=tmp_path, prefix=f"{trial.number}-"))
        return World(directory, images, url, records, trial)

    return make
