"""`monitoring/` and docs/metrics.md: sound by Prometheus' own tool, and in keeping with the code."""

import re
import subprocess
from pathlib import Path

import orjson
import pytest
from prometheus_client.registry import Collector

from contextvqa.queueing.meter import Hold, Meter
from contextvqa.watching import run_metrics, server_metrics
from contextvqa.watching.server_metrics import ServerLook
from refiner.meter import RefineMeter
from tests.prometheus import MONITORING, expressions, program
from tests.support import ROOT
from worker.meter import GenerateMeter
from worker.occupancy import Occupancy, Use

SERVER = ServerLook(
    jobs={}, workers={}, pending={}, paused=frozenset(), memory_bytes=1, memory_limit_bytes=0
)
COLLECTORS: list[Collector] = [
    Meter("generate", "w"),
    GenerateMeter(),
    Occupancy(lambda: None),  # type: ignore[arg-type, return-value] # not looked at
    RefineMeter(),
]
FAMILIES = [
    *(family for collector in COLLECTORS for family in collector.collect()),
    *server_metrics.families(SERVER),
    *run_metrics.families({}),
]
#: Name of each metric as it is queried, without the suffixes of a histogram's parts.
NAMES = {
    family.name + {"counter": "_total", "info": "_info"}.get(family.type, "") for family in FAMILIES
}
DOCS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def metrics_in(text: str) -> set[str]:
    found = re.findall(r"contextvqa_[a-z_]+", text)
    return {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in found}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
)
def test_prometheus_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_and_says_what_to_do() -> None:
    rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)

    tried = (MONITORING / "alerts_test.yml").read_text(encoding="utf-8")
    assert [name for name in alerts if f'alertname="{name}"' not in tried] == []
    assert rules.count("summary: ") == rules.count("action: ") == len(alerts)


@pytest.mark.parametrize("path", [MONITORING / "alerts.yml", MONITORING / "grafana/dashboard.json"])
def test_what_is_asked_for_exists(path: Path) -> None:
    assert metrics_in(path.read_text(encoding="utf-8")) <= NAMES


def test_metrics_are_named_as_prometheus_wants_and_explained() -> None:
    for name in NAMES:
        assert re.fullmatch(r"contextvqa_[a-z]+(_[a-z]+)*", name)
    assert all(family.documentation.endswith(".") for family in FAMILIES)
    assert metrics_in(DOCS) == NAMES
    assert [state for state in (*Use, *Hold) if f"`{state}`" not in DOCS] == []


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    dashboard = orjson.loads((MONITORING / "grafana" / "dashboard.json").read_bytes())
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len(list(expressions())) >= len(dashboard["panels"])
