"""
Namespaces of the kernel: what only those see who enter them, and what ends with its last process.

Root needs nothing else; others get their rights from a user namespace.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNET = (
    *(0x00020000, 0x04000000),
    *(0x10000000, 0x40000000),
)
#: What a host has of its own, as `unshare` and as `/proc/PID/ns` and `nsenter` name it.
FLAGS_OF_HOST = CLONE_NEWNET | CLONE_NEWUTS
OF_HOST = ("net", "uts")
LIBC = ctypes.CDLL(None, use_errno=True)


def unshare(kinds: int) -> None:
    """Give this process namespaces of its own, and rights in them."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        check(LIBC.unshare(kinds))
        return
    check(LIBC.unshare(CLONE_NEWUSER | kinds))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")


def enter(pid: int, names: Iterable[str]) -> None:
    """Enter namespaces of another process, named as in /proc/PID/ns, and get rights in them."""
    for name in ("user", *names):
        theirs = Path(f"/proc/{pid}/ns/{name}")
        # Nobody may enter the user namespace that he is in.
        if theirs.readlink() == Path(f"/proc/self/ns/{name}").readlink():
            continue
        with theirs.open("rb") as namespace:
            check(LIBC.setns(namespace.fileno(), 0))


def inside(pid: int, names: Iterable[str], *command: object) -> list[str]:
    """Return the command line that runs a command in such namespaces, as the same process."""
    rights = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
    kinds = [f"--{name}" for name in names]
    return ["nsenter", "--target", str(pid), *rights, *kinds, *map(str, command)]


def check(outcome: int) -> None:
    """Raise what a call of the C library has failed with."""
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
