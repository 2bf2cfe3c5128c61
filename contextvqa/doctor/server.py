"""The server: whether it is there, can be trusted with a queue, and whose clocks it sees."""

import contextlib
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
from contextvqa.queueing.server_health import MAX_CLOCK_SKEW_S, examine, not_permitted
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
    check = "clocks of workers"
    try:
        seconds, _ = connection.time()
    except redis.exceptions.NoPermissionError:
        return  # said already
    beats: list[tuple[str, float]] = []
    num_seen = 0
    for queue in (GENERATE, REFINE):
        # A role's user may see the daemons of its own queue.
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            beats += _beats(connection, queue)
            num_seen += 1
    if not num_seen:
        yield not_permitted(check, "HKEYS")
        return
    # A key that lives was written within its life.
    allowed_s = MAX_CLOCK_SKEW_S + WORKER_TTL_S
    off = sorted({host for host, beat_s in beats if abs(beat_s - seconds) > allowed_s})
    if off:
        wanted = f"at most {MAX_CLOCK_SKEW_S} s off the Redis server"
        yield warning(check, f"wrong on {', '.join(off)}", wanted, "set them right")
    else:
        yield ok(check, f"{len(beats)} daemons, none far off the Redis server")


def _beats(connection: redis.Redis, queue: str) -> Iterator[tuple[str, float]]:
    """Yield host and time of the last beat, in its clock, of each daemon on a queue."""
    names = [text_of(name) for name in connection.hkeys(claimants_key(queue))]
    fields = ("hostname", "last_heartbeat")
    for host, beat in ask(connection, [("HMGET", worker_key(name), *fields) for name in names]):
        # None where a dead daemon's key has expired; no time where somebody else wrote it.
        with contextlib.suppress(ValueError):
            if host and beat:
                yield text_of(host), datetime.fromisoformat(text_of(beat)).timestamp()
