"""The connection to Redis, and whether the server there can be trusted with a queue."""

import logging

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contextvqa.errors import UnavailableError, one_line
from contextvqa.findings import Verdict
from contextvqa.queueing.refusals import Client
from contextvqa.queueing.server_health import examine
from contextvqa.redis_url import DEFAULT_REDIS_URL, address, check_files

log = logging.getLogger("contextvqa")

#: Round trips are milliseconds; a server silent for this long, in seconds, counts as gone.
SOCKET_TIMEOUT_S = 10.0


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
    where = address(url or DEFAULT_REDIS_URL)
    for finding in examine(connection):
        if finding.verdict is Verdict.FAILURE:
            raise UnavailableError(f"the server at {where} will not do: {finding}.")
        if finding.verdict is Verdict.WARNING:
            log.warning("redis: the server at %s, %s: %s", where, finding.check, finding)
    return connection
