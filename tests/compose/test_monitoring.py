"""The profile `monitoring` in real containers: Prometheus on a stand-in for its image; no Grafana."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose import stand_ins
from tests.compose.docker import Deployment
from tests.prometheus import Prometheus, is_ready, program
from tests.scrapes import free_ports
from tests.support import wait_until

pytestmark = pytest.mark.timeout(1800)

IMAGE = "contextvqa-stand-in:prometheus"
#: As the hub's image has it: the program, and a place of its own user for what it keeps.
STAND_IN = """
FROM {base}
COPY prometheus /bin/prometheus
RUN mkdir /etc/prometheus && install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/bin/prometheus"]
"""


@pytest.fixture
def monitored(built: Deployment, tmp_path: Path) -> Iterator[Prometheus]:
    """The Prometheus of a deployment whose refiner has started, once it answers."""
    shutil.copy(program("prometheus"), tmp_path / "prometheus")
    stand_ins.build(IMAGE, STAND_IN.format(base=stand_ins.IMAGE), tmp_path)
    port = free_ports(1)
    choices = {"PROMETHEUS_IMAGE": IMAGE, "PROMETHEUS_PORT": port}
    services = ("refiner", "metrics", "prometheus")
    try:
        done = built.compose("--profile", "monitoring", "up", "-d", *services, choices=choices)
        assert done.returncode == 0, done.stderr
        server = Prometheus(f"http://127.0.0.1:{port}")
        wait_until(lambda: is_ready(server))
        yield server
    finally:
        built.remove()


def test_prometheus_finds_the_daemons_by_their_names_and_the_server_by_the_aggregate(
    monitored: Prometheus,
) -> None:
    def jobs_that_answer() -> set[str]:
        return {series["metric"]["job"] for series in monitored.query("up == 1")}

    wait_until(lambda: jobs_that_answer() >= {"contextvqa", "contextvqa-refiner"}, timeout_s=120)

    (server,) = monitored.query("contextvqa_redis_up")
    assert server["value"][1] == "1"
    # It may have been scraped before the refiner was there.
    wait_until(lambda: monitored.query('contextvqa_workers{queue="refine",state="idle"} == 1'))
    assert monitored.get("rules")["groups"]
