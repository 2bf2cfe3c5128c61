"""A real Prometheus, of the system's package, that scrapes what a test tells it to."""

import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.scrapes import free_ports
from tests.support import ROOT, wait_until

MONITORING = ROOT / "monitoring"


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; without it the test is left out."""
    path = shutil.which(name)
    if path is None:
        missing = f"needs {name}: apt install prometheus"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return path


class Prometheus:
    """A server that runs, by its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression as of now; fail where it is refused."""
        query = urllib.parse.urlencode({"query": expression})
        found: list[dict[str, Any]] = self.get(f"query?{query}")["result"]
        return found

    def get(self, path: str) -> Any:
        """Return what the API answers."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as answer:
            found = orjson.loads(answer.read())
        assert found["status"] == "success", found
        return found["data"]


@contextmanager
def prometheus(directory: Path, targets: Mapping[str, list[str]]) -> Iterator[Prometheus]:
    """Run a server that scrapes these targets of our jobs twice a second, with our alert rules."""
    address = f"127.0.0.1:{free_ports(1)}"
    directory.mkdir()
    config = directory / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
                "rule_files": [str(MONITORING / "alerts.yml")],
                "scrape_configs": [
                    {"job_name": job, "static_configs": [{"targets": addresses}]}
                    for job, addresses in targets.items()
                ],
            }
        )
    )
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        server = Prometheus(f"http://{address}")
        try:
            wait_until(lambda: is_ready(server) or process.poll() is not None)
            assert process.poll() is None, (directory / "log").read_text()
            yield server
        finally:
            process.terminate()


def is_ready(server: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression of the dashboard with its panel, for all runs and a minute's rates."""
    for panel in orjson.loads((MONITORING / "grafana" / "dashboard.json").read_bytes())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$run", ".*")
            yield panel["title"], expression
