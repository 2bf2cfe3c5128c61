"""Each role does its work under a user of Redis that may do nothing else."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

from contextvqa.errors import UnavailableError
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.queues import (
    GENERATE,
    PAUSED,
    REFINE,
    claimed_key,
    job_key,
    pending_key,
    prompts_key,
    rq_queue,
    run_key,
    worker_key,
)
from contextvqa.queueing.roles import Role
from contextvqa.records import ImageRecord
from tests.stages import EchoStage, enqueue, serve
from tests.support import run_contextvqa

Command = tuple[object, ...]

GENERATE_QUEUE, REFINE_QUEUE = "rq:queue:generate", "rq:queue:refine"

#: What no role has any need for: it would end, read, change or leave the server.
OF_NOBODY: list[Command] = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SWAPDB", 0, 1),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "appendonly", "no"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "worker", "allkeys"),
    ("EVAL", "return 1", 0),
    ("SCRIPT", "LOAD", "return 1"),
    ("FUNCTION", "LIST"),
    ("FUNCTION", "LOAD", "#!lua name=a\n"),
    ("MODULE", "LIST"),
    ("REPLICAOF", "evil", 6379),
    ("MIGRATE", "evil", 6379, "rq:queues", 0, 1),
    ("RESTORE", "rq:queues", 0, "a"),
    ("SAVE",),
    ("BGREWRITEAOF",),
    ("SHUTDOWN",),
    ("MONITOR",),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("KEYS", "*"),
    ("PUBLISH", "rq:pubsub:worker", "a"),
    ("SUBSCRIBE", "rq:pubsub:worker"),
    ("SET", "other", 1),
    ("GET", "other"),
    ("HGETALL", "other"),
    ("DEL", "other"),
]
#: What belongs to others.
OF_OTHERS: dict[Role, list[Command]] = {
    Role.PRODUCER: [
        ("LPOP", GENERATE_QUEUE),
        ("DEL", GENERATE_QUEUE),
        ("RPUSH", REFINE_QUEUE, "a"),
        ("LMOVE", GENERATE_QUEUE, claimed_key(GENERATE, "w"), "LEFT", "RIGHT"),
        ("HSET", worker_key("w"), "death", "now"),
        ("ZADD", "rq:wip:generate", 1, "a"),
    ],
    Role.WORKER: [
        ("HSET", run_key("r"), "config", "{}"),
        ("HSET", prompts_key("r"), "digest", "another prompt"),
        ("DEL", run_key("r")),
        ("DEL", REFINE_QUEUE),
        ("HDEL", PAUSED, "r"),
        ("SADD", pending_key("r"), "k"),
        ("LRANGE", REFINE_QUEUE, 0, -1),
        ("LMOVE", REFINE_QUEUE, claimed_key(GENERATE, "w"), "LEFT", "RIGHT"),
        ("DEL", "contextvqa:claimants:refine"),
    ],
    Role.REFINER: [
        ("HGETALL", prompts_key("r")),
        ("HGETALL", run_key("r")),
        ("HSET", run_key("r"), "config", "{}"),
        ("LRANGE", GENERATE_QUEUE, 0, -1),
        ("DEL", GENERATE_QUEUE),
        ("HDEL", PAUSED, "r"),
        ("LMOVE", GENERATE_QUEUE, claimed_key(REFINE, "w"), "LEFT", "RIGHT"),
        ("DEL", "contextvqa:claimants:generate"),
    ],
    Role.WATCHER: [
        ("HSET", job_key("j"), "status", "finished"),
        ("DEL", job_key("j")),
        ("RPUSH", GENERATE_QUEUE, "a"),
        ("SADD", pending_key("r"), "k"),
        ("HDEL", PAUSED, "r"),
        ("HGETALL", prompts_key("r")),
    ],
    Role.DASHBOARD: [
        ("HDEL", PAUSED, "r"),
        ("HSET", run_key("r"), "config", "{}"),
        ("LPOP", GENERATE_QUEUE),
        ("DEL", GENERATE_QUEUE),
        ("SREM", pending_key("r"), "k"),
        ("HSET", worker_key("w"), "death", "now"),
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of its own: on that of the session nobody is denied anything."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize("role", Role)
def test_a_role_is_denied_what_it_has_no_need_for(server: EmbeddedServer, role: Role) -> None:
    allowed = []
    with connect(server.url_for(role)) as connection:
        for command in OF_NOBODY + OF_OTHERS[role]:
            try:
                connection.execute_command(*command)
            except NoPermissionError:
                continue
            except redis.ResponseError:
                pass  # it came further than it may
            allowed.append(command)

    assert allowed == []


@pytest.mark.parametrize("role", Role)
def test_of_what_is_dangerous_a_role_may_ask_the_server_how_it_is_and_no_more(
    connection: redis.Redis, role: Role
) -> None:
    dangerous = {
        command
        for category in ("dangerous", "admin", "scripting", "pubsub", "blocking")
        for command in connection.acl_cat(category)
    }

    (line,) = [line for line in connection.acl_list() if line.startswith(f"user {role} ")]

    assert "-@all" in line
    assert "+@" not in line
    assert dangerous.intersection(re.findall(r"\+([^\s)]+)", line)) <= {"info"}


WRONG_USERS: list[tuple[Role, list[object]]] = [
    (Role.WATCHER, ["enqueue", "in.jsonl", "--run", "r"]),
    (Role.WORKER, ["enqueue", "in.jsonl", "--run", "r"]),
    (Role.WATCHER, ["worker", "--model", "m"]),
    (Role.REFINER, ["worker", "--model", "m"]),
    (Role.WATCHER, ["refiner"]),
    (Role.WORKER, ["refiner"]),
]


@pytest.mark.parametrize(("role", "command"), WRONG_USERS)
def test_a_command_under_another_roles_user_ends_with_one_line(
    redis_url: str, server: EmbeddedServer, tmp_path: Path, role: Role, command: list[object]
) -> None:
    assert redis_url == server.url
    (tmp_path / "in.jsonl").write_text('{"image": "a.png"}\n')

    done = run_contextvqa(*command, "--redis-url", server.url_for(role), cwd=tmp_path)

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert f"user '{role}' has no right to it: " in line
    assert "contextvqa:" in line, "names the key"
    assert "--redis-url" in line
    assert not list(tmp_path.glob("runs/*/results.jsonl"))


def test_a_right_that_is_missing_amid_work_ends_a_daemon_and_costs_no_record(
    connection: redis.Redis, server: EmbeddedServer, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)
    with connect(server.url_for(Role.WORKER)) as own:

        async def read_prompt(record: ImageRecord) -> None:
            own.hget("another:key", record.key)

        with pytest.raises(UnavailableError, match=r"user 'worker' .* HGET another:key"):
            serve(own, EchoStage(before=read_prompt))

    assert rq_queue(GENERATE, connection).count == 3


@pytest.mark.parametrize(
    "send",
    [
        lambda connection: connection.hset("other", "a", "b"),
        lambda connection: connection.pipeline().ping().hset("other", "a", "b").execute(),
        lambda connection: connection.pipeline(transaction=False).hset("other", "a", "b").execute(),
    ],
    ids=["alone", "in a transaction", "among others"],
)
def test_however_a_command_is_sent_its_denial_names_user_command_and_key(
    server: EmbeddedServer, send: Callable[[redis.Redis], object]
) -> None:
    with (
        connect(server.url_for(Role.WORKER)) as connection,
        pytest.raises(NoPermissionError, match=r"user 'worker'.*HSET other"),
    ):
        send(connection)
