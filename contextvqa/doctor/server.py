"""The server: whether it is there, can be trusted with a queue, and whose clocks it sees."""

from collections.abc import Iterator
from datetime import datetime

import redis

from contextvqa.doctor.asked import Asked
from contextvqa.findings import Finding, ok, warning
from contextvqa.processes.server_program import find_server
from contextvqa.queueing.claims import WORKER_TTL_S
from contextvqa.queueing.connection import connect
from contextvqa.queueing.job_hash import text_of
from contextvqa.queueing.queues import GENERATE, REFINE, claimants_key, worker_key
from contextvqa.queueing.server_health import MAX_CLOCK_SKEW_S, examine
from contextvqa.queueing.transactions import ask
from contextvqa.redis_url import DEFAULT_REDIS_URL, address


def check(asked: Asked) -> Iterator[Finding]:
    """
    Look at the server of --redis-url, else at the program that `contextvqa run` would start.

    Raises:
        ContextVQAError, redis.RedisError: It cannot be reached, or is no server of ours.

    """
    url = asked.store.server_url
    if url is None and asked.role is None:
        # `run` starts it; a server at the default address, were there one, it would not use.
        yield ok("embedded server", f"{find_server()} for `contextvqa run`; no --redis-url")
        return
    with connect(url) as connection:
        yield ok("redis", f"a server at {address(url or DEFAULT_REDIS_URL)} answers")
        yield from examine(connection)
        yield from _worker_clocks(connection)


def _worker_clocks(connection: redis.Redis) -> Iterator[Finding]:
    """Compare the last beats of all hosts' daemons with the server's clock."""
    try:
        seconds, _ = connection.time()
        names = [
            text_of(name)
            for queue in (GENERATE, REFINE)
            for name in connection.hkeys(claimants_key(queue))
        ]
        replies = ask(
            connection, [("HMGET", worker_key(n), "hostname", "last_heartbeat") for n in names]
        )
    except redis.exceptions.NoPermissionError:
        return  # a word about TIME is said already
    off = {
        text_of(host)
        for host, beat in replies
        # A key that lives was written within its life.
        if host
        and beat
        and abs(datetime.fromisoformat(text_of(beat)).timestamp() - seconds)
        > MAX_CLOCK_SKEW_S + WORKER_TTL_S
    }
    if off:
        hosts = ", ".join(sorted(off))
        wanted = f"at most {MAX_CLOCK_SKEW_S} s off the Redis server"
        yield warning("clocks of workers", f"wrong on {hosts}", wanted, "set them right")
    else:
        yield ok("clocks of workers", f"{len(names)} daemons, none far off the Redis server")
