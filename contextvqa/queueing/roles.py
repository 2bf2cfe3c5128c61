"""Roles, and the user of Redis that each of them logs in as: `users.acl` has their rights."""

import re
from collections.abc import Callable
from enum import StrEnum
from importlib.resources import files

_USER = re.compile(r"^user (\S+)((?:\n[ \t]+.*)+)", re.MULTILINE)


class Role(StrEnum):
    """What a process does on the server that holds the queues. Also the name of its user."""

    PRODUCER = "producer"
    WORKER = "worker"
    REFINER = "refiner"
    WATCHER = "watcher"
    DASHBOARD = "dashboard"


def users_acl(default: str, secret: Callable[[Role], str]) -> str:
    """
    Return all users, one a line, as an `aclfile` of Redis 7 or Valkey has them.

    Args:
        default: Rules of the user that a connection is before it logs in.
        secret: Returns what a role's user logs in with: `nopass`, or `#` and the password's
            SHA-256 in hex.

    """
    table = files("contextvqa.queueing").joinpath("users.acl").read_text("utf-8")
    lines = [f"user default {default}"]
    for name, rules in _USER.findall(table):
        lines.append(f"user {name} on {secret(Role(name))} {' '.join(rules.split())}")
    return "\n".join(lines) + "\n"
