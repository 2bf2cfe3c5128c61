"""The connection to Redis, and whether the server there can be trusted with a queue."""

import contextlib
import logging
import re
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contextvqa.errors import UnavailableError, one_line
from contextvqa.queueing.refusals import Client
from contextvqa.redis_url import DEFAULT_REDIS_URL, address, check_files

log = logging.getLogger("contextvqa")

#: Round trips are milliseconds; a server silent for this long, in seconds, counts as gone.
SOCKET_TIMEOUT_S = 10.0
#: Older servers lack commands that the queues use (LMOVE).
MIN_VERSION = (6, 2)
#: Seconds that two hosts' clocks may differ by without a word.
MAX_CLOCK_SKEW_S = 30


def connect(url: str | None) -> redis.Redis:
    """
    Connect and check that a server answers.

    Raises:
        UnavailableError: No server answers there, or it is no Redis. Names the address, never the
            password.
        UsageError: A file that the URL names is not there.

    """
    url = url or DEFAULT_REDIS_URL
    check_files(url)
    try:
        # One command, one try: a repeated EXEC would run twice. Callers repeat what is safe.
        connection = Client.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            # A role's user has no right to say which library this is.
            driver_info=None,
        )
        connection.ping()
    except (ValueError, TypeError):
        # Their texts quote the URL, password and all.
        raise UnavailableError(
            f"{address(url)} is no Redis URL; expected redis://HOST:PORT/DB or unix://PATH."
        ) from None
    except redis.AuthenticationError as error:
        raise UnavailableError(
            f"the server at {address(url)} refuses us ({one_line(error)}); "
            "give your user in --redis-url, and the password with --redis-password-file."
        ) from error
    except (redis.RedisError, OSError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UnavailableError(
                f"the server at {address(url)} cannot prove who it is ({one_line(error)}); name the "
                "file of its certificate authority in --redis-url: rediss://…?ssl_ca_certs=FILE."
            ) from error
        raise UnavailableError(
            f"no Redis server at {address(url)} ({one_line(error)}); "
            "start one there, or name another with --redis-url."
        ) from error
    return connection


def connect_to_queue(url: str | None) -> redis.Redis:
    """
    Connect to a server that is to hold records, and check that it will not drop any.

    Raises:
        UnavailableError: As `connect`; or the server is too old, or evicts keys when it is full.

    """
    connection = connect(url)
    try:
        info = connection.info()
    except redis.exceptions.NoPermissionError:
        log.warning("redis: cannot check its settings: this user has no right to INFO")
        return connection
    where = address(url or DEFAULT_REDIS_URL)
    version = tuple(map(int, re.findall(r"\d+", str(info.get("redis_version", "")))[:2]))
    if version < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise UnavailableError(
            f"the server at {where} is Redis {info.get('redis_version')}; {wanted} or later needed."
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise UnavailableError(
            f"the server at {where} has maxmemory-policy {policy}: it would drop records when it "
            "is full; set it to noeviction."
        )
    _warn_of_clock(connection)
    if not info.get("aof_enabled"):
        log.warning(
            "redis: the server at %s has no append-only file: a restart forgets the queue, until "
            "the same input is enqueued again; set appendonly yes",
            where,
        )
    return connection


def _warn_of_clock(connection: redis.Redis) -> None:
    """Nothing rests on the clocks of hosts but what people read: times, rates, when jobs fade."""
    with contextlib.suppress(redis.exceptions.NoPermissionError):
        seconds, _ = connection.time()
        ahead_s = time.time() - seconds
        if abs(ahead_s) > MAX_CLOCK_SKEW_S:
            log.warning(
                "clock: this host is %.0f s %s the Redis server; set one of them right",
                abs(ahead_s),
                "ahead of" if ahead_s > 0 else "behind",
            )
