"""
`kubernetes/`: valid by the schemas of Kubernetes and KEDA, and in keeping with the code.

Kubernetes' schemas come with `kubernetes-validate`, KEDA's are copies of its own definitions. No
cluster runs here: what only one can tell, such as its storage, README.md asks its reader to try.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import redis
import yaml

from contextvqa import settings
from contextvqa.options import environment_name
from contextvqa.processes import supervisor
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import SOCKET_TIMEOUT_S, connect
from contextvqa.queueing.daemon import REDIS_PATIENCE_S
from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from contextvqa.queueing.roles import Role
from tests.support import ROOT, run_contextvqa

MANIFESTS = ROOT / "kubernetes"
CRDS = ROOT / "tests" / "data" / "keda"
#: What KEDA's redis scaler reads of a trigger, as far as we use it (its scalers-schema.json).
TRIGGER_FIELDS = {"address", "listName"}

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


KUSTOMIZATION = read(MANIFESTS / "kustomization.yaml")[0]
FILES = [*KUSTOMIZATION["resources"], "enqueue.yaml"]
ALL = [manifest for name in FILES for manifest in read(MANIFESTS / name)]


def name_of(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {metadata.get('name') or metadata['generateName']}"


BY_NAME = {name_of(manifest): manifest for manifest in ALL}
PODS = {
    name: manifest["spec"]["template"]["spec"]
    for name, manifest in BY_NAME.items()
    if manifest["kind"] in {"Deployment", "StatefulSet", "Job"}
}
SCALERS = {"ScaledObject worker": GENERATE, "ScaledObject refiner": REFINE}
DAEMONS = ("Deployment worker", "Deployment refiner")


def close(schema: Any) -> Any:
    """Return a schema that refuses fields it does not name; a server drops them in silence."""
    if isinstance(schema, list):
        return [close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(part) for key, part in schema.items()}
    if "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def keda_schema(manifest: Manifest) -> Manifest:
    (crd,) = read(CRDS / f"{manifest['kind'].lower()}s.yaml")
    (version,) = [v for v in crd["spec"]["versions"] if v["served"]]
    assert manifest["apiVersion"] == f"{crd['spec']['group']}/{version['name']}"
    schema: Manifest = version["schema"]["openAPIV3Schema"]
    # The API server's own, which a definition leaves to it.
    schema["properties"]["metadata"]["properties"] = {"name": {"type": "string"}}
    return schema


@pytest.mark.parametrize("name", BY_NAME)
def test_a_manifest_is_valid(name: str) -> None:
    manifest = BY_NAME[name]

    if manifest["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(manifest, close(keda_schema(manifest)))
    else:
        version = kubernetes_validate.latest_version()
        kubernetes_validate.validate(manifest, version, strict=True)


def test_every_file_is_listed_and_no_image_without_a_place_in_a_registry() -> None:
    assert {path.name for path in MANIFESTS.glob("*.yaml")} == {"kustomization.yaml", *FILES}
    placed = {
        image["name"]: f"{image['newName']}:{image['newTag']}" for image in KUSTOMIZATION["images"]
    }
    used = {container["image"] for pod in PODS.values() for container in pod["containers"]}
    assert used == {*placed, placed["contextvqa"]}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights_and_writes_to_its_volumes_alone(name: str) -> None:
    pod = PODS[name]

    security = pod["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"] == security["fsGroup"] == 1000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", PODS)
def test_what_a_pod_refers_to_is_there(name: str) -> None:
    pod = PODS[name]
    own = BY_NAME[name]["spec"].get("volumeClaimTemplates", [])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}

    for container in pod["containers"]:
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {*volumes, *(claim["metadata"]["name"] for claim in own)}
        for source in container.get("envFrom", []):
            assert f"ConfigMap {source['configMapRef']['name']}" in BY_NAME
    for volume in volumes.values():
        if claim := volume.get("persistentVolumeClaim"):
            assert f"PersistentVolumeClaim {claim['claimName']}" in BY_NAME
        if described := volume.get("configMap"):
            assert f"ConfigMap {described['name']}" in BY_NAME
        assert volume.get("secret", {}).get("secretName", "redis") == "redis"


def known_settings() -> Iterator[str]:
    for group in vars(settings).values():
        if is_dataclass(group):
            yield from (environment_name(item.name) for item in fields(group))


def test_settings_are_settings() -> None:
    assert BY_NAME["ConfigMap settings"]["data"].keys() <= set(known_settings())


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Deployment worker", Role.WORKER),
        ("Deployment refiner", Role.REFINER),
        ("Job enqueue-", Role.PRODUCER),
        ("Deployment metrics", Role.WATCHER),
    ],
)
def test_a_pod_is_the_user_of_its_role_and_has_that_password(name: str, role: Role) -> None:
    pod = PODS[name]
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    (container,) = pod["containers"]

    given: dict[str, str] = {}
    for source in container["envFrom"]:
        given |= BY_NAME[f"ConfigMap {source['configMapRef']['name']}"]["data"]

    assert given["CONTEXTVQA_REDIS_URL"] == f"redis://{role}@redis:6379/0"
    file = Path(given["CONTEXTVQA_REDIS_PASSWORD_FILE"])
    assert secret["items"] == [{"key": f"redis_{role}", "path": file.name}]


def test_the_scaler_may_count_and_nothing_else(tmp_path: Path) -> None:
    # Given a server with the users of the cluster, and a queue of three jobs
    (rules,) = re.findall(
        r"user scaler\n(.*)", BY_NAME["ConfigMap users"]["data"]["scaler.acl"], re.DOTALL
    )
    with EmbeddedServer(tmp_path) as server:
        with connect(server.url) as connection:
            connection.acl_setuser("scaler", enabled=True, nopass=True)
            connection.execute_command("ACL", "SETUSER", "scaler", *rules.split())
            connection.rpush("rq:queue:generate", "a", "b", "c")
        with connect(server.url.replace("unix://", "unix://scaler@")) as scaler:
            # When it counts as KEDA does, then it gets the number
            count = "return redis.call(({list='llen'})[redis.call('type', KEYS[1]).ok], KEYS[1])"
            assert scaler.eval(count, 1, "rq:queue:generate") == 3

            # When it does anything else, then it is refused
            for script, key in (
                ("return redis.call('lpop', KEYS[1])", "rq:queue:generate"),
                ("return redis.call('llen', KEYS[1])", "rq:job:a"),
                ("return redis.call('flushall')", "rq:queue:generate"),
            ):
                with pytest.raises(redis.ResponseError, match=r"ACL|permission"):
                    scaler.eval(script, 1, key)


@pytest.mark.parametrize("name", DAEMONS)
def test_a_pod_gets_more_time_to_stop_than_its_drain_takes(name: str) -> None:
    drain_s = float(BY_NAME["ConfigMap settings"]["data"]["CONTEXTVQA_DRAIN_TIMEOUT_S"])

    # To end an engine, or to hear from a server that is away.
    after_s = max(supervisor.STOP_MARGIN_S, REDIS_PATIENCE_S + SOCKET_TIMEOUT_S)

    assert PODS[name]["terminationGracePeriodSeconds"] > drain_s + after_s


@pytest.mark.parametrize("name", DAEMONS)
def test_a_probe_is_a_command_that_exists(name: str) -> None:
    (container,) = PODS[name]["containers"]
    program, *arguments = container["readinessProbe"]["exec"]["command"]

    done = run_contextvqa(*arguments, "--redis-url", "redis://127.0.0.1:1")

    assert program == "contextvqa"
    assert done.returncode == 3
    assert "no Redis server at" in done.stderr


@pytest.mark.parametrize("name", SCALERS)
def test_what_is_counted_are_the_keys_of_the_queue(name: str) -> None:
    spec = BY_NAME[name]["spec"]
    queue = rq_queue(SCALERS[name], redis.Redis())
    keys = {
        "queued": queue.key,
        "in_flight": queue.started_job_registry.key,
        "aside": queue.deferred_job_registry.key,
    }

    counted = {trigger["name"]: trigger["metadata"]["listName"] for trigger in spec["triggers"]}

    assert counted.items() <= keys.items()
    formula = spec["advanced"]["scalingModifiers"]["formula"]
    assert {word for word in keys if word in formula} == counted.keys()
    for trigger in spec["triggers"]:
        assert trigger["metadata"].keys() == TRIGGER_FIELDS
        assert f"TriggerAuthentication {trigger['authenticationRef']['name']}" in BY_NAME
    assert f"Deployment {spec['scaleTargetRef']['name']}" in BY_NAME
    # A number here would undo what the scaler has chosen with every `apply`.
    assert "replicas" not in BY_NAME[f"Deployment {spec['scaleTargetRef']['name']}"]["spec"]


@pytest.mark.parametrize(
    ("name", "high_water"),
    [
        ("ScaledObject worker", settings.Flow().high_water),
        ("ScaledObject refiner", settings.Guards().refine_high_water),
    ],
)
def test_a_queue_that_is_held_back_is_still_long_enough_for_all_pods(
    name: str, high_water: int
) -> None:
    spec = BY_NAME[name]["spec"]

    per_pod = float(spec["advanced"]["scalingModifiers"]["target"])

    assert per_pod * spec["maxReplicaCount"] <= high_water / 2


def test_a_run_that_is_paused_keeps_somebody_who_brings_its_jobs_back() -> None:
    for name in SCALERS:
        spec = BY_NAME[name]["spec"]
        formula = spec["advanced"]["scalingModifiers"]["formula"]
        assert spec["minReplicaCount"] >= 1 or formula.endswith("+ min(aside, 1)")
