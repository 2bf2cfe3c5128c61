"""What the one Redis thread waits out, and what it does not."""

import asyncio
from pathlib import Path

import pytest
import redis

from contextvqa.connection import connect
from contextvqa.errors import UnavailableError
from contextvqa.redis_thread import RedisThread
from contextvqa.server import EmbeddedServer
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
