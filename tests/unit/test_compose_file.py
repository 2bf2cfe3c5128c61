"""What docker-compose.yml and .env.example offer is what the daemons can be told."""

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema import Draft7Validator

from contextvqa.options import environment_name
from contextvqa.queueing.roles import Role
from contextvqa.settings import Daemon, Devices, Engine, Guards, Images, Metrics, Model
from tests.support import ROOT, run_contextvqa

#: Stand in docker-compose.yml: with the grace period, and for a host whose cores are shared out.
FIXED = {"CONTEXTVQA_DRAIN_TIMEOUT_S", "CONTEXTVQA_CPUS"}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXAMPLE = (ROOT / ".env.example").read_text()


#: The overrides of docs/deployment.md: of the host with the server, and of a second one.
HERE, THERE = (
    yaml.safe_load(text)["services"]
    for text in re.findall(
        r"^```yaml\n(.*?)^```",
        (ROOT / "docs" / "deployment.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)


def test_all_that_may_run_on_a_second_host_reach_the_address_that_the_first_one_publishes() -> None:
    (published,) = HERE["redis"]["ports"]
    assert "outside" in HERE["redis"]["networks"]
    assert THERE.keys() == {"worker", "refiner", "cli"}
    for override in THERE.values():
        assert "outside" in override["networks"]
        url = override["environment"]["CONTEXTVQA_REDIS_URL"]
        assert url.rpartition("@")[2] == f"{published.rpartition(':')[0]}/0"


def test_it_is_as_the_compose_specification_says() -> None:
    schema = Draft7Validator(get_builtin_schema("vendor.compose-spec"))

    assert [error.message for error in schema.iter_errors(COMPOSE)] == []


@pytest.mark.parametrize(
    ("service", "groups"),
    [
        ("worker", [Model, Engine, Devices, Images, Guards, Daemon, Metrics]),
        ("refiner", [Daemon, Metrics]),
    ],
)
def test_every_setting_of_a_daemon_reaches_its_container(service: str, groups: list[Any]) -> None:
    settings = {environment_name(item.name) for group in groups for item in fields(group)}
    assert settings - FIXED <= COMPOSE["services"][service]["environment"].keys()


@pytest.mark.parametrize("daemon", ["worker", "worker-cpu", "refiner"])
def test_a_daemon_is_looked_at_before_it_is_started_as_what_it_will_be(daemon: str) -> None:
    service, check = (COMPOSE["services"][name] for name in (daemon, f"check-{daemon}"))

    assert service["depends_on"][f"check-{daemon}"] == {
        "condition": "service_completed_successfully"
    }
    assert service["restart"] == "unless-stopped"
    assert {name for name in service if service[name] != check[name]} == {
        *("command", "depends_on", "restart")
    }
    assert check["command"][:3] == ["doctor", "--role", *service["command"]]


def test_whatever_is_handed_on_from_env_is_named_in_its_example() -> None:
    handed_on = {
        name
        for service in COMPOSE["services"].values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    assert handed_on
    assert [name for name in sorted(handed_on) if f"{name}=" not in EXAMPLE] == []


@pytest.mark.parametrize(
    ("service", "role"),
    [
        ("worker", Role.WORKER),
        ("worker-cpu", Role.WORKER),
        ("refiner", Role.REFINER),
        ("cli", Role.PRODUCER),
        ("dashboard", Role.DASHBOARD),
        ("metrics", Role.WATCHER),
    ],
)
def test_a_service_is_the_user_of_its_role_and_knows_no_other_password(
    service: str, role: Role
) -> None:
    described = COMPOSE["services"][service]
    given = described["environment"]

    assert given["CONTEXTVQA_REDIS_URL"] == f"redis://{role}@redis:6379/0"
    assert given["CONTEXTVQA_REDIS_PASSWORD_FILE"] == f"/run/secrets/redis_{role}"
    assert [name for name in described["secrets"] if name.startswith("redis_")] == [f"redis_{role}"]


def test_the_users_of_the_container_are_those_of_the_command(tmp_path: Path) -> None:
    for role in Role:
        (tmp_path / f"redis_{role}").write_text(f"{role}-secret-17\n")
    start = (ROOT / "docker" / "redis" / "redis-start").read_text()
    places = {
        "/run/secrets": tmp_path,
        "/usr/local/share/contextvqa": ROOT / "contextvqa" / "queueing",
        "/store": tmp_path,
        "redis-server -": "cat",
        "deployment-check": "true",
    }
    for place, here in places.items():
        start = start.replace(place, str(here))

    config = subprocess.run(
        ["sh", "-c", start],
        env=os.environ | {"REDIS_MAXMEMORY": "1gb"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    users = [line for line in config.splitlines() if line.startswith("user ")]
    assert users == run_contextvqa("acl", tmp_path).stdout.splitlines()
    assert len(users) == 1 + len(Role)
    assert "secret-17" not in config


def test_prometheus_scrapes_each_service_that_serves_metrics_on_a_network_of_both() -> None:
    services = COMPOSE["services"]
    config = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())
    targets = {
        (name, found["port"])
        for job in config["scrape_configs"]
        for found in job.get("dns_sd_configs", ())
        for name in found["names"]
    }
    (fixed,) = [
        job["static_configs"] for job in config["scrape_configs"] if "static_configs" in job
    ]
    name, _, port = fixed[0]["targets"][0].partition(":")

    daemons = {
        (name, int(service["environment"]["CONTEXTVQA_METRICS_PORT"]))
        for name, service in services.items()
        if "CONTEXTVQA_METRICS_PORT" in service.get("environment", {})
        and service["restart"] != "no"
    }
    assert targets == daemons
    assert services[name]["command"][-1] == port
    networks = [set(services[found]["networks"]) for found in ("prometheus", name, *dict(targets))]
    assert set.intersection(*networks) == {"queue"}


def test_all_that_is_published_is_for_this_host_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
