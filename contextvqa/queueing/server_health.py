"""Whether a server can be trusted with a queue, by what it says of itself."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from contextvqa.findings import Finding, failure, ok, warning

#: Older servers lack commands that the queues use (LMOVE).
MIN_VERSION = (6, 2)
#: Seconds that two hosts' clocks may differ by without a word.
MAX_CLOCK_SKEW_S = 30
#: Share of maxmemory in use above which it is worth a word; at all of it everything waits.
MAX_MEMORY_SHARE = 0.9


def examine(connection: redis.Redis) -> Iterator[Finding]:
    """
    Look at the server; a failure is why no record may be put there.

    Nothing rests on the clocks of hosts but what people read: times, rates, when jobs fade.
    """
    try:
        info = connection.info()
    except redis.exceptions.NoPermissionError:
        yield not_permitted("redis settings", "INFO")
    else:
        yield _version(info)
        yield _eviction(info)
        yield _append_only_file(info)
        yield _memory(info)
    try:
        seconds, microseconds = connection.time()
    except redis.exceptions.NoPermissionError:
        yield not_permitted("clock", "TIME")
    else:
        yield _clock(time.time() - seconds - microseconds / 1e6)


def _version(info: Mapping[str, Any]) -> Finding:
    # Valkey says there which Redis it is compatible with.
    version = str(info.get("valkey_version") or info.get("redis_version", ""))
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        return failure("redis version", f"Redis {version}", f"{wanted} or later", "upgrade it")
    return ok("redis version", f"{info.get('server_name', 'redis')} {version}")


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    found = f"maxmemory-policy {policy}"
    if policy == "noeviction":
        return ok("eviction", found)
    remedy = "it would drop records when it is full: set it to noeviction"
    return failure("eviction", found, "noeviction", remedy)


def _append_only_file(info: Mapping[str, Any]) -> Finding:
    if not info.get("aof_enabled"):
        return warning(
            "append-only file",
            "none: a restart forgets the queue, until the same input is enqueued again",
            "one",
            "set appendonly yes",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        return warning(
            "append-only file",
            "on, but the last write to it failed",
            "a disk that it can be written to",
            "make room on the server's disk; until then it refuses all writes",
        )
    return ok("append-only file", "on")


def _memory(info: Mapping[str, Any]) -> Finding:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        return ok("redis memory", f"{used / 1e6:,.0f} MB used, no maxmemory")
    found = f"{used / 1e6:,.0f} of {most / 1e6:,.0f} MB used"
    if used < MAX_MEMORY_SHARE * most:
        return ok("redis memory", found)
    remedy = "raise maxmemory, or let workers and refiners catch up: when it is full, all wait"
    return warning("redis memory", found, f"less than {MAX_MEMORY_SHARE:.0%}", remedy)


def _clock(ahead_s: float) -> Finding:
    direction = "ahead of" if ahead_s > 0 else "behind"
    found = f"this host is {abs(ahead_s):,.1f} s {direction} the Redis server"
    if abs(ahead_s) <= MAX_CLOCK_SKEW_S:
        return ok("clock", found)
    return warning("clock", found, f"at most {MAX_CLOCK_SKEW_S} s", "set one of them right")


def not_permitted(check: str, command: str) -> Finding:
    """Return that a user of the server may not see it; others may."""
    return warning(
        check,
        f"not permitted to read {command} with this user",
        f"a user that may call {command}",
        f"allow it +{command.lower()}, or look again as another user",
    )
