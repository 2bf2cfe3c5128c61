"""Who is dead, and what they held: jobs of dead workers go back to the queue within seconds."""

import os
import socket
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from rq import worker_registration

from contextvqa.queueing.claims import Claims
from contextvqa.queueing.job_hash import Execution, executions_in, text_of
from contextvqa.queueing.queues import claimed_key, worker_executions_key, worker_key
from contextvqa.queueing.recovery import Recovery
from contextvqa.queueing.transactions import ask

#: How long our looks at Redis must have been regular, in seconds, before a worker whose key has
#: gone counts as dead: after an outage all keys have gone, and all get the time to write theirs.
STEADY_S = 10.0
#: Seconds between two looks that are regular: three beats.
REGULAR_S = 9.0
#: Of a 64-bit process id. Python refuses to read a number of thousands.
MAX_PID_DIGITS = 20
#: Looks between two sweeps for executions of workers that nobody knows of.
SWEEP_LOOKS = 20


def host_identity() -> str:
    """Name the set of processes that our process ids mean: host, its boot, our pid namespace."""
    boot = _read("/proc/sys/kernel/random/boot_id")
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def process_identity() -> str:
    """Name this process so that others on this host can see whether it still runs."""
    return f"{os.getpid()}@{host_identity()}"


def is_running(pid: int) -> bool:
    """Whether a process of this host runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return not state or state[0] not in "ZX"


class Reaper:
    """Takes back what dead workers of one queue held. Every worker has one; any number may run."""

    def __init__(self, claims: Claims, recovery: Recovery) -> None:
        self.claims = claims
        self.connection = claims.connection
        self.recovery = recovery
        self._host = host_identity()
        self._num_looks = 0
        self._looked_at = float("-inf")
        self._steady_since = 0.0

    def reap(self) -> int:
        """Return the jobs of dead workers to the queue; say how many."""
        dead = self._dead_workers(is_steady=self._is_steady())
        is_sweep = self._num_looks % SWEEP_LOOKS == 0
        self._num_looks += 1
        if not dead and not is_sweep:
            return 0
        for claimed in self._abandoned_lists(dead):
            self.recovery.put_back(claimed)
        taken = self.recovery.take_back_crashed(self._orphans(dead))
        self._forget(dead)
        return taken

    def _is_steady(self) -> bool:
        """Whether an absent key tells more of its worker than of Redis."""
        now = time.monotonic()
        if now - self._looked_at > REGULAR_S:
            self._steady_since = now
        self._looked_at = now
        return now - self._steady_since >= STEADY_S

    def _dead_workers(self, *, is_steady: bool) -> list[str]:
        """Dead: says so itself, its process on this host has gone, or its key has."""
        claimants = self.connection.hgetall(self.claims.claimants_key)
        others = {text_of(name): text_of(process) for name, process in claimants.items()}
        others.pop(self.claims.worker, None)
        replies = ask(
            self.connection, [("HMGET", worker_key(name), "birth", "death") for name in others]
        )
        return [
            name
            for (name, process), (birth, death) in zip(others.items(), replies, strict=True)
            if death is not None or self._has_gone(process) or (birth is None and is_steady)
        ]

    def _has_gone(self, process: str) -> bool:
        pid, _, host = process.partition("@")
        is_pid = pid.isdecimal() and len(pid) <= MAX_PID_DIGITS
        return host == self._host and is_pid and not is_running(int(pid))

    def _abandoned_lists(self, dead: Collection[str]) -> list[str]:
        """List the claimed lists of these workers, and of workers that nobody knows of."""
        pattern = claimed_key(self.claims.queue.name, "*")
        lists = [text_of(key) for key in self.connection.scan_iter(pattern, count=10_000)]
        # Read last: whoever claims was noted before.
        claimants = map(text_of, self.connection.hkeys(self.claims.claimants_key))
        living = {
            claimed_key(self.claims.queue.name, name) for name in claimants if name not in dead
        }
        return [claimed for claimed in lists if claimed not in living]

    def _orphans(self, dead: Collection[str]) -> list[Execution]:
        """List started executions of these workers, and of workers that nobody knows of."""
        registry = self.claims.queue.started_job_registry
        executions = executions_in(self.connection.zrange(registry.key, 0, -1))
        reads = [("HGET", execution.key, "worker_name") for execution in executions]
        # Read last: whoever holds an execution was noted before.
        *owners, claimants = ask(self.connection, [*reads, ("HKEYS", self.claims.claimants_key)])
        living = {text_of(name) for name in claimants}.difference(dead)
        return [
            execution._replace(worker=text_of(owner or ""))
            for execution, owner in zip(executions, owners, strict=True)
            if owner is None or text_of(owner) not in living
        ]

    def _forget(self, dead: Sequence[str]) -> None:
        """Strike the dead off every list, and whoever is on rq's without having a key."""
        if dead:
            keys = [worker_key(name) for name in dead]
            with self.connection.pipeline(transaction=True) as pipeline:
                pipeline.hdel(self.claims.claimants_key, *dead)
                pipeline.delete(*keys, *map(worker_executions_key, dead))
                pipeline.execute()
        worker_registration.clean_worker_registry(self.claims.queue)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
