"""Servers that cannot be trusted with a queue are refused, in one line, before anything starts."""

import http.server
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextvqa.errors import UnavailableError
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect, connect_to_queue
from tests.support import run_contextvqa, set_password


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that a test may spoil."""
    with EmbeddedServer(tmp_path / "redis") as server:
        yield server


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_evicts_keys_is_refused_by_whoever_would_put_records_there(
    own_server: EmbeddedServer, tmp_path: Path, policy: str
) -> None:
    connect(own_server.url).config_set("maxmemory-policy", policy)
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n')

    for command in (["enqueue", source, "--run", "r"], ["refiner"], ["worker", "--model", "m"]):
        done = run_contextvqa(*command, "--redis-url", own_server.url, cwd=tmp_path)

        assert done.returncode == 3
        (line,) = done.stderr.splitlines()
        assert f"maxmemory-policy {policy}" in line
        assert "noeviction" in line
    assert connect(own_server.url).dbsize() == 0


def test_a_server_without_an_append_only_file_is_used_with_a_warning(
    own_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    connect_to_queue(own_server.url)
    assert caplog.messages == []

    connect(own_server.url).config_set("appendonly", "no")
    with caplog.at_level(logging.WARNING, "contextvqa"):
        connect_to_queue(own_server.url)

    (message,) = caplog.messages
    assert "appendonly yes" in message


def test_a_host_whose_clock_is_an_hour_off_is_told_so(
    own_server: EmbeddedServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time() + 3600
    monkeypatch.setattr("contextvqa.queueing.server_health.time.time", lambda: ahead)

    connect_to_queue(own_server.url)

    (message,) = caplog.messages
    assert "s ahead of the Redis server" in message


def test_a_server_too_old_for_the_queues_is_refused(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.Redis.info", lambda *_: {"redis_version": "5.0.14"})

    with pytest.raises(UnavailableError, match=r"Redis 5\.0\.14; expected 6\.2 or later"):
        connect_to_queue(own_server.url)


def test_a_server_that_is_no_redis_is_refused_in_one_line(tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"redis://127.0.0.1:{server.server_port}/0"
        done = run_contextvqa("refiner", "--redis-url", url, "--runs-dir", tmp_path)
        server.shutdown()

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert f"no Redis server at {url}" in line


def test_every_command_reaches_a_server_by_the_password_in_a_file(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    set_password(own_server.url, "open sesame")
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n')
    places: list[object] = ["--redis-url", own_server.url, "--runs-dir", tmp_path / "runs"]
    commands: list[tuple[object, ...]] = [
        ("enqueue", source, "--run", "r"),
        ("refiner", "--burst"),
        ("status", "r"),
        ("pause", "r"),
        ("resume", "r"),
        ("retry", "r", "--all"),
        ("audit", "r", "--input", source),
        ("wait", "r", "--timeout-s", 0),
    ]

    codes = {
        command: run_contextvqa(*command, *places, "--redis-password-file", password).returncode
        for command in commands
    }

    # 5: the one record is still pending.
    assert codes == {command: 5 if command[0] == "wait" else 0 for command in commands}


@pytest.mark.parametrize("command", [["refiner"], ["worker", "--model", "m"]])
def test_a_wrong_password_ends_a_daemon_in_one_line_that_does_not_show_it(
    own_server: EmbeddedServer, tmp_path: Path, command: list[str]
) -> None:
    password = tmp_path / "password"
    password.write_text("open barley\n")
    set_password(own_server.url, "open sesame")

    done = run_contextvqa(
        *command, "--redis-url", own_server.url, "--redis-password-file", password
    )

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "--redis-password-file" in line
    assert "barley" not in line


@pytest.mark.parametrize("command", [["refiner"], ["worker", "--model", "m"]])
@pytest.mark.parametrize("content", [None, ""])
def test_a_password_file_without_a_password_ends_a_daemon_in_one_line(
    tmp_path: Path, command: list[str], content: str | None
) -> None:
    password = tmp_path / "password"
    if content is not None:
        password.write_text(content)

    done = run_contextvqa(
        *command, "--redis-url", "redis://localhost:1", "--redis-password-file", password
    )

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"--redis-password-file {password}" in line


def test_a_password_without_a_server_that_it_is_for_is_refused(tmp_path: Path) -> None:
    done = run_contextvqa("refiner", "--redis-password-file", tmp_path / "password")

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--redis-url" in line
