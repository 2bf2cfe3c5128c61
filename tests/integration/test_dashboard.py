"""`contextvqa dashboard` without a browser: who gets in, what is closed, and hostile jobs."""

import base64
import http.client
import pickle
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from contextvqa.dashboard.app import create_app
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.queues import GENERATE, job_key, rq_queue, worker_key
from contextvqa.queueing.roles import Role
from contextvqa.settings import Sampling
from contextvqa.storage.run_directory import RunDirectory
from tests.stages import EchoStage, enqueue, serve
from tests.support import clean_environment, contextvqa, run_contextvqa

HERE = "http://localhost:9181"
PAGES = (
    "/",
    "/0/view/workers",
    "/0/view/jobs",
    "/0/view/jobs/generate/queued/8/asc/1",
    "/0/data/queues.json",
    "/0/data/workers.json",
    "/0/data/jobs/generate/queued/8/asc/1.json",
    "/0/data/jobs/refine/failed/200/dsc/1.json",
    "/static/css/main.css",
    "/favicon.ico",
)
SAME_ORIGIN = (
    {"Sec-Fetch-Site": "same-origin", "Origin": HERE},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    {"Origin": HERE},
)
OTHER_ORIGINS = (
    {},
    {"Origin": "null"},
    {"Origin": "http://localhost:9182"},
    {"Origin": "http://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": HERE},
    {"Sec-Fetch-Site": "same-site", "Origin": HERE},
    {"Sec-Fetch-Site": "none"},
)

Client = Callable[..., FlaskClient]


@pytest.fixture
def client(redis_url: str, server: EmbeddedServer) -> Iterator[Client]:
    """Make dashboards of the empty server, as its own user."""
    assert redis_url == server.url
    own = connect(server.url_for(Role.DASHBOARD))

    def make(*, is_local: bool = True, password: str | None = None) -> FlaskClient:
        app = create_app(own, address="redis://here:1/0", is_local=is_local, password=password)
        return app.test_client()

    yield make
    own.close()


@pytest.fixture
def pages(client: Client) -> FlaskClient:
    return client()


def get(client: FlaskClient, path: str, **options: object) -> TestResponse:
    return client.get(path, base_url=HERE, buffered=True, **options)


def post(client: FlaskClient, path: str, headers: object = SAME_ORIGIN[0]) -> TestResponse:
    return client.post(path, base_url=HERE, headers=headers)


def fail_one(connection: redis.Redis, runs_dir: Path) -> str:
    """Have the only job of a run fail; return its id."""
    config = RunDirectory(runs_dir, "test").begin("m", Sampling(), "in.json")
    enqueue(connection, runs_dir, 1).runs.store(config)
    (job_id,) = rq_queue(GENERATE, connection).job_ids
    queue = rq_queue(GENERATE, connection)
    connection.lpop(queue.key)
    connection.hset(job_key(job_id), "status", "failed")
    connection.zadd(queue.failed_job_registry.key, {job_id: 2**40})
    return job_id


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_and_tells_the_browser_to_run_nothing_else(
    pages: FlaskClient, path: str
) -> None:
    response = get(pages, path)

    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_no_two_answers_have_the_same_nonce(pages: FlaskClient) -> None:
    policies = {get(pages, "/").headers["Content-Security-Policy"] for _ in range(3)}

    assert len(policies) == 3


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("/static")])
def test_nobody_gets_in_without_the_password(client: Client, path: str) -> None:
    pages = client(password="pä:ss")

    assert get(pages, path).status_code == 401
    assert get(pages, path, auth=("me", "")).status_code == 401
    assert get(pages, path, auth=("me", "pä:s")).status_code == 401
    assert get(pages, path, headers={"Authorization": "Bearer pä:ss"}).status_code == 401
    assert get(pages, path, auth=("me", "pä:ss")).status_code == 200


def test_the_password_is_asked_for_before_anything_is_changed(
    client: Client, connection: redis.Redis, runs_dir: Path
) -> None:
    job_id = fail_one(connection, runs_dir)
    pages = client(password="p")

    response = post(pages, f"/job/{job_id}/requeue")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic ")
    assert rq_queue(GENERATE, connection).count == 0


@pytest.mark.parametrize("host", ["localhost:9181", "127.0.0.1", "127.1.2.3:80", "[::1]:9181"])
def test_this_machine_is_reached_by_its_own_names(pages: FlaskClient, host: str) -> None:
    assert pages.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:9181", "10.0.0.1", "[::"])
def test_a_name_that_was_made_to_lead_here_is_refused(client: Client, host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code in {400, 403}


def test_a_public_address_may_have_any_name(client: Client) -> None:
    pages = client(is_local=False, password="p")

    response = pages.get("/", headers={"Host": "queue.example"}, auth=("me", "p"))

    assert response.status_code == 200


@pytest.mark.parametrize("headers", SAME_ORIGIN)
def test_a_page_of_ours_may_requeue(
    pages: FlaskClient, connection: redis.Redis, runs_dir: Path, headers: dict[str, str]
) -> None:
    job_id = fail_one(connection, runs_dir)

    response = post(pages, f"/job/{job_id}/requeue", headers)

    assert response.json == {"status": "OK"}
    assert rq_queue(GENERATE, connection).job_ids == [job_id]


@pytest.mark.parametrize("headers", OTHER_ORIGINS)
@pytest.mark.parametrize("path", ["/job/{}/requeue", "/requeue/generate"])
def test_nobody_elses_page_may(
    pages: FlaskClient,
    connection: redis.Redis,
    runs_dir: Path,
    path: str,
    headers: dict[str, str],
) -> None:
    job_id = fail_one(connection, runs_dir)

    assert post(pages, path.format(job_id), headers).status_code == 403
    assert rq_queue(GENERATE, connection).count == 0


@pytest.mark.parametrize("path", ["/job/{}/requeue", "/requeue/generate", "/job/{}/delete"])
def test_looking_changes_nothing(
    pages: FlaskClient, connection: redis.Redis, runs_dir: Path, path: str
) -> None:
    job_id = fail_one(connection, runs_dir)

    assert get(pages, path.format(job_id)).status_code == 405
    assert pages.head(path.format(job_id), base_url=HERE).status_code == 405
    assert rq_queue(GENERATE, connection).count == 0


def test_nothing_that_would_lose_records_is_open(
    pages: FlaskClient, connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)
    queue = rq_queue(GENERATE, connection)
    job_id, *_ = before = queue.job_ids

    for path in (
        f"/job/{job_id}/delete",
        *(f"/queue/generate/{name}/empty" for name in ("queued", "failed", "started")),
        "/queue/generate/compact",
    ):
        response = post(pages, path)
        assert response.status_code == 403
        assert "contextvqa pause" in response.text

    assert queue.job_ids == before
    for path in ("/0/view/jobs/generate/queued/8/asc/1", f"/0/view/job/{job_id}"):
        page = get(pages, path).text
        assert 'id="empty-btn"' not in page
        assert 'id="compact-btn"' not in page
        assert 'id="delete-job-btn"' not in page
        assert 'data-role="delete-job-btn"' not in page


def test_requeue_all_counts_what_it_could_requeue(
    pages: FlaskClient, connection: redis.Redis, runs_dir: Path
) -> None:
    fail_one(connection, runs_dir)
    connection.zadd(rq_queue(GENERATE, connection).failed_job_registry.key, {"gone": 2**40})

    response = post(pages, "/requeue/generate")

    assert response.json == {"status": "OK", "count": 1, "failed": 2}


@pytest.mark.parametrize(
    "path",
    [
        "/1/view/queues",
        "/0/view/jobs/other/queued/8/asc/1",
        "/0/view/jobs/');alert(1)('/queued/8/asc/1",
        "/0/view/jobs/generate/nosuch/8/asc/1",
        "/0/view/jobs/generate/queued/8/up/1",
        "/0/view/jobs/generate/queued/201/asc/1",
        "/0/data/jobs/generate/queued/100000000000000000000/asc/1.json",
        "/0/data/jobs/generate/queued/8/asc/0.json",
        "/0/data/jobs/generate/queued/-1/asc/1.json",
        "/0/data/jobs/generate/queued/x/asc/1.json",
        "/0/data/job/none.json",
        "/0/view/job/none",
        "/0/view/job/no:ne",
        "/nowhere",
    ],
)
def test_what_is_not_there_is_not_found_and_no_bug(pages: FlaskClient, path: str) -> None:
    response = get(pages, path)

    assert response.status_code == 404
    assert response.mimetype == "text/plain"


def test_jobs_of_somebody_who_can_write_to_redis_run_nothing_and_break_no_page(
    pages: FlaskClient, connection: redis.Redis, runs_dir: Path, tmp_path: Path
) -> None:
    # Given jobs full of pickles that make a file, and of nonsense
    made = tmp_path / "made"
    bomb = pickle.dumps(Bomb(made))
    enqueue(connection, runs_dir, 6)
    queue = rq_queue(GENERATE, connection)
    ids = queue.job_ids
    for job_id in ids:
        fields = {"data": zlib.compress(bomb), "meta": bomb, "result": bomb, "status": "failed"}
        connection.hset(job_key(job_id), mapping=fields)
        result = {"type": 1, "return_value": base64.b64encode(bomb), "worker_name": "w"}
        connection.xadd(f"rq:results:{job_id}", result)
        connection.zadd(queue.failed_job_registry.key, {job_id: 2**40})
        connection.zadd(queue.started_job_registry.key, {f"{job_id}:1": 1})
    connection.hset(job_key(ids[1]), mapping={"created_at": b"\xff\xfe", "status": "nosuch"})
    connection.hset(job_key(ids[2]), "description", b"\xff\xfe")
    connection.delete(job_key(ids[3]))
    connection.set(job_key(ids[4]), "a string")
    connection.zadd(queue.failed_job_registry.key, {"no:id at/all": 2**40})
    connection.sadd("rq:workers", worker_key("w"))
    connection.hset(worker_key("w"), mapping={"birth": "2026-01-01T00:00:00Z", "queues": "a,b"})
    connection.sadd("rq:worker:w:executions", f"{ids[0]}:e")
    for name, fields in (("x", {"pid": "x"}), ("y", {"birth": "never"}), ("z", {"state": "?"})):
        connection.hset(worker_key(name), mapping=dict(fields))
    connection.sadd("rq:worker:z:executions", "nonsense")
    connection.set(worker_key("string"), "a string")
    others = ("x", "y", "z", "string", "gone")
    connection.sadd("rq:workers", "no worker's key", *map(worker_key, others))
    connection.hset(f"rq:execution:{ids[0]}:e", mapping={"created_at": 1, "last_heartbeat": 1})

    # When all is looked at, and requeued
    registries = ("queued", "failed", "started", "finished", "deferred", "scheduled", "canceled")
    listed = {
        name: get(pages, f"/0/data/jobs/generate/{name}/200/asc/1.json").json["jobs"]
        for name in registries
    }
    failed = {job["id"]: job["description"] for job in listed["failed"]}
    for job_id in ids:
        expected = 200 if job_id in failed else 404
        assert get(pages, f"/0/data/job/{job_id}.json").status_code == expected
        assert get(pages, f"/0/view/job/{job_id}").status_code == expected
    workers = {
        worker["name"]: worker["current_job"]
        for worker in get(pages, "/0/data/workers.json").json["workers"]
    }
    requeued = post(pages, "/requeue/generate").json

    # Then nothing ran, nothing was struck off, and the others are shown
    assert not made.exists()
    assert queue.job_ids == ids
    assert failed.keys() == {ids[0], ids[1], ids[2], ids[5]}
    assert len(listed["queued"]) == len(listed["started"]) == 4
    assert failed[ids[1]].startswith("unreadable: ")
    assert workers.keys() == {"w", "z"}
    assert workers["w"]["call_string"].startswith("1 in flight, one: generate test 1")
    assert workers["z"] == "idle"
    assert requeued == {"status": "OK", "count": 0, "failed": 7}


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_what_is_worked_on_is_counted(
    pages: FlaskClient, connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 2)
    serve(connection, EchoStage())

    generate, refine = get(pages, "/0/data/queues.json").json["queues"]

    assert (generate["name"], generate["count"], generate["finished_job_registry_count"]) == (
        GENERATE,
        0,
        2,
    )
    assert (refine["name"], refine["count"]) == ("refine", 2)


def test_pages_say_that_redis_is_away_and_go_on_when_it_is_back(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        connection = connect(server.url)
        app = create_app(connection, address="unix://there", is_local=True, password=None)
        pages = app.test_client()
        assert get(pages, "/").status_code == 200

    for path in PAGES:
        response = get(pages, path)
        assert response.status_code == (200 if path.startswith("/static") else 503)
    assert "Redis at unix://there does not answer" in get(pages, "/").text
    assert get(pages, "/").headers["Refresh"]
    assert post(pages, "/requeue/generate").status_code == 503

    with EmbeddedServer(tmp_path):
        assert get(pages, "/").status_code == 200
    connection.close()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--host", "0.0.0.0"], 2, "--password-file"),
        (["--host", "::"], 2, "--password-file"),
        (["--host", "queue.example"], 2, "--password-file"),
        (["--port", "70000"], 2, "must be 0 to 65535"),
        (["--password-file", "/nowhere"], 2, "No such file"),
        (["--password-file", "/dev/null"], 2, "/dev/null is empty; expected the password"),
        (["--host", "192.0.2.1", "--password-file", "pw"], 2, "cannot listen on 192.0.2.1:9181"),
        (["nosuch"], 2, "nosuch"),
        (["--redis-url", "redis://127.0.0.1:1"], 3, "no Redis server at redis://127.0.0.1:1"),
    ],
)
def test_a_command_that_cannot_be_says_so_in_one_line(
    redis_url: str, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    (tmp_path / "pw").write_text("secret\n")

    done = run_contextvqa("dashboard", "--redis-url", redis_url, *options, cwd=tmp_path)

    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_server_of_a_run_is_found_by_the_runs_name(
    redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"image": "a.png"}\n')
    run_contextvqa(
        "enqueue", source, "--run", "r", "--runs-dir", runs_dir, "--redis-url", redis_url
    )
    (runs_dir / "r" / "redis").mkdir()

    done = run_contextvqa("dashboard", "r", "--runs-dir", runs_dir)

    assert done.returncode == 3
    assert f"the embedded server of {runs_dir / 'r'} is not running" in done.stderr


@pytest.fixture
def public_port(redis_url: str, tmp_path: Path) -> Iterator[int]:
    """Where the real command serves all addresses, with the password `secret`."""
    (tmp_path / "pw").write_text("secret\n")
    public = ("--host", "0.0.0.0", "--port", 0, "--password-file", tmp_path / "pw")
    command = contextvqa("dashboard", "--redis-url", redis_url, *public)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        try:
            assert process.stderr is not None
            port = urlsplit(process.stderr.readline().split()[1]).port
            assert port is not None
            yield port
        finally:
            process.terminate()


def test_a_public_dashboard_asks_for_the_password_in_the_file(public_port: int) -> None:
    assert [ask(public_port, word) for word in ("", "wrong", "secret")] == [401, 401, 200]


def test_connections_that_never_ask_anything_keep_nobody_out(public_port: int) -> None:
    with ExitStack() as stack:
        for _ in range(150):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", public_port)))
            idle.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")

        # As long as a browser waits; they themselves would stay for minutes.
        assert ask(public_port, "secret") == 200


def ask(port: int, password: str) -> int:
    token = base64.b64encode(f"me:{password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    try:
        connection.request("GET", "/", headers={"Authorization": f"Basic {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_port_that_is_in_use_is_named(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_contextvqa("dashboard", "--redis-url", redis_url, "--port", port)

    assert done.returncode == 3
    assert f"127.0.0.1:{port} is in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1
