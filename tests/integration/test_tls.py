"""The queue over TLS: everything works, and no server is trusted that cannot prove who it is."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing import connection as connections
from contextvqa.queueing.connection import connect
from contextvqa.queueing.redis_thread import RedisThread
from tests.stages import EchoStage, serve, until
from tests.support import read_lines, run_contextvqa, url_for
from tests.tls import Authority, TLSFront, make_authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the server's certificate is of."""
    return make_authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture
def front(
    authority: Authority, server: EmbeddedServer, connection: redis.Redis
) -> Iterator[TLSFront]:
    """The empty server, behind TLS."""
    assert connection.dbsize() == 0
    front = TLSFront(authority, server._socket, asks_clients=False)
    with front.serving():
        yield front


@pytest.fixture
def url(front: TLSFront, authority: Authority) -> str:
    """Where it is, with what a client needs to trust it."""
    return f"rediss://localhost:{front.port}/0?ssl_ca_certs={authority.ca}"


def test_a_record_goes_all_its_way_over_tls(url: str, runs_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n{"image": "b.png"}\n')
    places: list[object] = ["--redis-url", url, "--runs-dir", runs_dir]
    once = ("--max-attempts", 1)

    enqueued = run_contextvqa("enqueue", source, "--run", "r", *once, *places)
    with connect(url_for("worker", url)) as connection:
        serve(connection, EchoStage())
    refined = run_contextvqa("refiner", "--burst", *places)
    waited = run_contextvqa("wait", "r", "--max-rejects", "100%", *places)

    for done in (enqueued, refined, waited):
        assert done.returncode == 0, done.stderr
    # What the stand-in writes is no article.
    assert len(read_lines(runs_dir / "r" / "rejects.jsonl")) == 2


def test_a_server_of_an_authority_that_we_do_not_know_is_not_trusted(
    front: TLSFront, tmp_path: Path
) -> None:
    other = make_authority(tmp_path / "another")

    for parameters in ("", f"?ssl_ca_certs={other.ca}"):
        url = f"rediss://worker:sesame@localhost:{front.port}/0"
        done = run_contextvqa("refiner", "--redis-url", url + parameters, cwd=tmp_path)

        assert done.returncode == 3
        (line,) = done.stderr.splitlines()
        assert f"rediss://localhost:{front.port}/0" in line
        assert "certificate verify failed" in line
        assert "ssl_ca_certs=" in line
        assert "sesame" not in line


def test_a_certificate_of_another_name_is_not_trusted(url: str, tmp_path: Path) -> None:
    there = url.replace("localhost", "127.0.0.1")
    done = run_contextvqa("refiner", "--redis-url", there, cwd=tmp_path)

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "not valid for '127.0.0.1'" in line


def test_a_file_of_an_authority_that_is_not_there_is_named(url: str, tmp_path: Path) -> None:
    done = run_contextvqa("refiner", "--redis-url", f"{url}.elsewhere", cwd=tmp_path)

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "ca.pem.elsewhere: no such file" in line


def test_a_server_that_asks_for_certificates_gets_ours(
    authority: Authority, server: EmbeddedServer, tmp_path: Path
) -> None:
    front = TLSFront(authority, server._socket, asks_clients=True)
    with front.serving():
        url = f"rediss://localhost:{front.port}/0?ssl_ca_certs={authority.ca}"
        own = f"&ssl_certfile={authority.certificate}&ssl_keyfile={authority.key}"

        with_ours = run_contextvqa("refiner", "--burst", "--redis-url", url + own, cwd=tmp_path)
        without = run_contextvqa("refiner", "--burst", "--redis-url", url, cwd=tmp_path)

    assert with_ours.returncode == 0, with_ours.stderr
    assert without.returncode == 3
    assert len(without.stderr.splitlines()) == 1


def test_a_server_that_is_silent_or_gone_for_a_while_is_waited_for(
    url: str,
    front: TLSFront,
    server: EmbeddedServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SOCKET_TIMEOUT_S", 0.3)
    with connect(server.url) as own:
        pid = own.info("server")["process_id"]
    client = connect(url)

    async def scenario() -> None:
        thread = RedisThread()
        # Given a server that stops in the middle of a call
        os.kill(pid, signal.SIGSTOP)
        try:
            writing = asyncio.create_task(thread.call(client.hset, "rq:worker:w", "a", "1"))
            await until(lambda: "Timeout" in caplog.text)
        finally:
            # When it goes on
            os.kill(pid, signal.SIGCONT)
        # Then the call ends
        await writing
        # And given connections that break, then the next call makes another
        front.cut()
        await thread.call(client.hset, "rq:worker:w", "a", "2")
        thread.close()

    asyncio.run(scenario())

    assert client.hget("rq:worker:w", "a") == b"2"
    client.close()
