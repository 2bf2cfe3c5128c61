"""
The checks: one table that names them, and how they are made at once, each within its time.

Targets are strings, as those of `contextvqa.cli`: this package imports no stage.
"""

import threading
import time
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import redis

from contextvqa.doctor.asked import Asked, Role
from contextvqa.errors import ContextVQAError, one_line
from contextvqa.findings import Finding, failure


class Check(NamedTuple):
    """Where a check lives, and the hosts that it matters to."""

    #: A function that takes `Asked` and yields findings.
    path: str
    roles: tuple[Role | None, ...]


#: In the order of the report. A check that hangs or breaks is reported by its name here.
CHECKS = {
    "packages": Check("contextvqa.doctor.packages:check", (None, "enqueue", "worker", "refiner")),
    "redis": Check("contextvqa.doctor.server:check", (None, "enqueue", "worker", "refiner")),
    "run directory": Check("contextvqa.doctor.run_directory:check", (None, "enqueue", "refiner")),
    "engine": Check("worker.doctor.engine:check", (None, "worker")),
    "devices": Check("worker.doctor.devices:check", (None, "worker")),
    "model": Check("worker.doctor.model:check", (None, "worker")),
    "context": Check("worker.doctor.context:check", (None, "worker")),
    "worker host": Check("worker.doctor.host:check", (None, "worker")),
}


def examine(asked: Asked) -> Iterator[Finding]:
    """
    Make the checks that matter to this host, all at once, and yield what they find in order.

    None takes longer than `asked.timeout_s`: one that hangs, as a dead mount lets it, is a finding.
    """
    examinations = [
        _Examination(name, check.path, asked)
        for name, check in CHECKS.items()
        if asked.role in check.roles
    ]
    deadline = time.monotonic() + asked.timeout_s
    for examination in examinations:
        yield from examination.findings(deadline)


class _Examination:
    """One check on a thread of its own, which ends with the process if it hangs."""

    def __init__(self, name: str, path: str, asked: Asked) -> None:
        self._name = name
        self._timeout_s = asked.timeout_s
        self._found: list[Finding] = []
        self._thread = threading.Thread(target=self._run, args=(path, asked), daemon=True)
        self._thread.start()

    def findings(self, deadline: float) -> list[Finding]:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        # Of one that goes on: what it has found until now.
        found = list(self._found)
        if self._thread.is_alive():
            expected = f"an answer within --timeout-s {self._timeout_s:g}"
            remedy = "see whether a disk, mount, driver or name server hangs"
            found.append(failure(self._name, "hangs", expected, remedy))
        return found

    def _run(self, path: str, asked: Asked) -> None:
        module, _, name = path.partition(":")
        try:
            for finding in getattr(import_module(module), name)(asked):
                self._found.append(finding)
        except ContextVQAError as error:
            self._fail(str(error).rstrip("."))
        except redis.RedisError as error:
            self._fail(f"Redis: {one_line(error)}")
        except OSError as error:
            self._fail(one_line(error))
        except Exception as error:  # noqa: BLE001 - one check that breaks hides no other
            told = f"{type(error).__name__}: {one_line(error)}"
            self._fail(f"the check itself broke: {told}", remedy="report it as a bug")

    def _fail(self, found: str, *, remedy: str = "") -> None:
        self._found.append(failure(self._name, found, remedy=remedy))
