"""What docker-compose.yml and .env.example offer is what the daemons can be told."""

from dataclasses import fields
from typing import Any

import pytest
import yaml

from contextvqa.options import environment_name
from contextvqa.settings import Daemon, Devices, Engine, Guards, Images, Model
from tests.support import ROOT

#: Stand in docker-compose.yml: with the grace period, and for a host whose cores are shared out.
FIXED = {"CONTEXTVQA_DRAIN_TIMEOUT_S", "CONTEXTVQA_CPUS"}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXAMPLE = (ROOT / ".env.example").read_text()


@pytest.mark.parametrize(
    ("service", "groups"),
    [("worker", [Model, Engine, Devices, Images, Guards, Daemon]), ("refiner", [Daemon])],
)
def test_every_setting_of_a_daemon_reaches_its_container(service: str, groups: list[Any]) -> None:
    settings = {environment_name(item.name) for group in groups for item in fields(group)}
    assert settings - FIXED <= COMPOSE["services"][service]["environment"].keys()


def test_whatever_is_handed_on_from_env_is_named_in_its_example() -> None:
    handed_on = {
        name
        for service in COMPOSE["services"].values()
        for name, value in service["environment"].items()
        if value is None
    }
    assert handed_on
    assert [name for name in sorted(handed_on) if f"{name}=" not in EXAMPLE] == []
