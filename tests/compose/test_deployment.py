"""docker-compose.yml in real containers, with the real vLLM: what goes in comes out, whatever dies."""

import orjson
import pytest

from tests.compose.docker import STARTED_AT, Deployment, checked, inspect, run
from tests.support import read_lines, wait_until

pytestmark = pytest.mark.timeout(1800)

#: More than a worker does while a test looks.
NUM_MANY = 300


def enqueue_many(up: Deployment, name: str) -> str:
    """Enqueue a run that takes a while; return its input as the containers see it."""
    rows = orjson.loads((up.data_dir / "sample_data.json").read_bytes())
    many = [rows[number % len(rows)] | {"id": f"{name}-{number}"} for number in range(NUM_MANY)]
    path = up.data_dir / f"{name}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in many))
    up.cli("enqueue", f"/data/{path.name}", "--run", name)
    return f"/data/{path.name}"


def wait_until_at_work(up: Deployment, name: str) -> None:
    wait_until(lambda: up.num_results(name) > 0, timeout_s=300)
    assert up.num_results(name) < NUM_MANY


def assert_all_is_there(up: Deployment, name: str, source: str) -> None:
    """Wait for a run's end: each key has one line, and the audit agrees."""
    up.cli("wait", name, "--timeout-s", 600, "--max-rejects", "10%")
    up.cli("audit", name, "--input", source)
    directory = up.runs_dir / name
    results = read_lines(directory / "results.jsonl")
    ended = {line["id"] for line in results + read_lines(directory / "rejects.jsonl")}
    assert ended == {f"{name}-{number}" for number in range(NUM_MANY)}
    assert len({line["meta"]["key"] for line in results}) == len(results)


def test_the_sample_becomes_records_that_belong_to_the_owner_of_the_directory(
    up: Deployment,
) -> None:
    source = "/data/sample_data.json"
    assert "ok      run directory" in up.cli("doctor")
    up.cli("enqueue", source, "--run", "sample")
    up.cli("wait", "sample", "--timeout-s", 600)
    up.cli("audit", "sample", "--input", source)

    results = up.runs_dir / "sample" / "results.jsonl"
    assert len(read_lines(results)) >= 46
    assert results.stat().st_uid == up.owner
    assert "48" in up.cli("status", "sample")


@pytest.mark.parametrize("service", ["worker-cpu", "refiner", "redis"])
def test_a_container_that_is_killed_at_work_comes_back_and_costs_nothing(
    up: Deployment, service: str
) -> None:
    name = f"kill-{service}"
    source = enqueue_many(up, name)
    wait_until_at_work(up, name)
    container = up.containers(service)[0]
    before = inspect(container, STARTED_AT)

    up.kill(container)

    wait_until(lambda: inspect(container, STARTED_AT) != before)
    assert_all_is_there(up, name, source)


def test_redis_may_be_restarted_under_work(up: Deployment) -> None:
    source = enqueue_many(up, "restart")
    wait_until_at_work(up, "restart")

    up.do("restart", "redis")

    assert_all_is_there(up, "restart", source)


def test_three_refiners_share_one_file(up: Deployment) -> None:
    up.do("up", "-d", "--scale", "refiner=3")
    source = enqueue_many(up, "three")

    assert_all_is_there(up, "three", source)
    assert len(up.containers("refiner")) == 3


def test_down_hands_the_work_back_and_up_goes_on(up: Deployment) -> None:
    source = enqueue_many(up, "down")
    wait_until_at_work(up, "down")
    daemons = up.containers("worker-cpu", "refiner")

    up.do("stop", "worker-cpu", "refiner")
    codes = [inspect(container, "{{.State.ExitCode}}") for container in daemons]
    up.do("down")
    num_before = up.num_results("down")
    up.do("up", "-d")

    assert codes == [["0"]] * len(daemons)
    assert num_before < NUM_MANY
    assert_all_is_there(up, "down", source)


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
def test_both_profiles_are_valid(built: Deployment, profile: str) -> None:
    built.do("--profile", profile, "config", "--quiet")


def test_passwords_stand_in_no_command_line_no_environment_no_log_and_no_image(
    up: Deployment,
) -> None:
    passwords = [path.read_text().strip() for path in up.secrets_dir.iterdir()]
    shown = [checked("ps", "-eww", "-o", "args"), up.do("logs"), up.do("config")]
    for container in up.containers():
        shown += [checked("docker", "inspect", container)]
        (image,) = inspect(container, "{{.Image}}")
        shown += [checked("docker", "history", "--no-trunc", image)]

    assert "redis-server" in shown[0]
    assert len(passwords) == 7
    assert not [text for text in shown if any(password in text for password in passwords)]


def test_the_health_check_needs_the_password(up: Deployment) -> None:
    (redis,) = up.containers("redis")
    command = ("docker", "exec", redis, "sh", "-c")

    assert run(*command, "redis-healthy").returncode == 0
    assert "NOAUTH" in checked(*command, "redis-cli ping")
    wrong = "sed 's#/run/secrets/redis_watcher#/etc/hostname#' /usr/local/bin/redis-healthy | sh"
    assert run(*command, wrong).returncode == 1


def test_the_dashboard_is_reached_from_this_host_alone_and_with_its_password(
    up: Deployment,
) -> None:
    up.do("--profile", "dashboard", "up", "-d", "dashboard")
    (container,) = up.containers("dashboard")
    url = "http://127.0.0.1:9181/0/data/queues.json"
    asked = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url)
    password = (up.secrets_dir / "dashboard_password").read_text().strip()
    known = ("curl", "--silent", "--fail", "--user", f"me:{password}", url)

    wait_until(lambda: run(*known).returncode == 0, timeout_s=60)

    assert run(*asked).stdout == "401"
    assert '"generate"' in checked(*known)
    assert inspect(container, "{{json .NetworkSettings.Ports}}") == [
        '{"9181/tcp":[{"HostIp":"127.0.0.1","HostPort":"9181"}]}'
    ]


@pytest.mark.parametrize(
    ("service", "secrets"), [("worker-cpu", ["redis_worker"]), ("refiner", ["redis_refiner"])]
)
def test_a_container_knows_the_password_of_its_own_role_alone(
    up: Deployment, service: str, secrets: list[str]
) -> None:
    container = up.containers(service)[0]

    assert checked("docker", "exec", container, "ls", "/run/secrets").split() == secrets


def test_no_role_may_empty_the_server(up: Deployment) -> None:
    (redis,) = up.containers("redis")
    for role in ("producer", "worker", "refiner", "watcher", "dashboard"):
        ask = f"REDISCLI_AUTH=$(cat /run/secrets/redis_{role}) redis-cli --user {role}"
        command = ("docker", "exec", redis, "sh", "-c")

        assert checked(*command, f"{ask} ping").strip() == "PONG"
        assert "NOPERM" in checked(*command, f"{ask} flushall")


@pytest.mark.parametrize("service", ["redis", "worker-cpu", "refiner"])
def test_a_container_can_write_only_where_it_must(up: Deployment, service: str) -> None:
    container = up.containers(service)[0]
    as_it_runs = ("docker", "exec", container)

    assert checked(*as_it_runs, "id", "-u").strip() == str(up.owner)
    for path in ("/", "/usr/local/bin", "/data"):
        assert run(*as_it_runs, "touch", f"{path}/x").returncode != 0
    assert "CapEff:\t0000000000000000" in checked(*as_it_runs, "cat", "/proc/self/status")
