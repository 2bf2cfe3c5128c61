"""What the one Redis thread waits out, and what it does not."""

import asyncio
from pathlib import Path

import pytest
import redis

from contextvqa.errors import UnavailableError
from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.redis_thread import RedisThread
from tests.stages import until
from tests.support import wait_until


def call(connection: redis.Redis, *command: str) -> object:
    thread = RedisThread()
    try:
        return asyncio.run(thread.call(connection.execute_command, *command))
    finally:
        thread.close()


def test_a_server_that_cannot_write_its_disk_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that has to save, cannot, and therefore refuses writes
    with EmbeddedServer(tmp_path / "redis") as server:
        connection = connect(server.url)
        connection.config_set("save", "1 1")
        (tmp_path / "redis" / "dump.rdb").mkdir()
        connection.set("a", "1")
        connection.bgsave()
        wait_until(lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err")

        # When something is written meanwhile, and the disk is mended
        async def scenario() -> object:
            thread = RedisThread()
            writing = asyncio.create_task(thread.call(connection.set, "b", "2"))
            await until(lambda: caplog.messages)
            assert "MISCONF" in caplog.messages[0]
            connection.config_set("save", "")
            written = await writing
            thread.close()
            return written

        # Then it is written in the end
        assert asyncio.run(scenario())
        assert connection.get("b") == b"2"


def test_a_command_that_the_server_refuses_for_good_is_not_repeated(
    connection: redis.Redis,
) -> None:
    connection.set("text", "a")

    with pytest.raises(UnavailableError, match="refuses a command: WRONGTYPE"):
        call(connection, "LPUSH", "text", "b")


def test_what_redis_py_says_around_an_answer_to_many_commands_changes_nothing(
    connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that asks for a replica it does not have
    connection.config_set("min-replicas-to-write", 1)

    def write_two() -> list[object]:
        with connection.pipeline(transaction=False) as pipeline:
            pipeline.set("a", "1")
            pipeline.set("b", "2")
            return pipeline.execute()

    # When several commands are sent together, and the server is set right meanwhile
    async def scenario() -> list[object]:
        thread = RedisThread()
        writing = asyncio.create_task(thread.call(write_two))
        await until(lambda: caplog.messages)
        connection.config_set("min-replicas-to-write", 0)
        written = await writing
        thread.close()
        return written

    # Then they are written in the end
    assert asyncio.run(scenario()) == [True, True]
    assert "NOREPLICAS" in caplog.messages[0]
