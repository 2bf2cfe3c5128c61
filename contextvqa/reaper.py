"""Who is dead, and what they held: jobs of dead workers go back to the queue within seconds."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rq import worker_registration
from rq.utils import as_text, parse_composite_key

from contextvqa.claims import Claims
from contextvqa.queues import claimed_key, worker_key

#: Executions taken back in one transaction.
BATCH = 200


def host_identity() -> str:
    """Name the set of processes that our process ids mean: host, its boot, our pid namespace."""
    boot = _read("/proc/sys/kernel/random/boot_id")
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def is_running(pid: int) -> bool:
    """Whether a process of this host runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return not state or state[0] not in "ZX"


class Reaper:
    """Takes back what dead workers of one queue held. Every worker has one; any number may run."""

    def __init__(self, claims: Claims, host: str) -> None:
        self.claims = claims
        self.connection = claims.connection
        self.host = host

    def reap(self) -> int:
        """Return the jobs of dead workers to the queue; say how many."""
        dead = self._dead_workers()
        if not dead:
            return 0
        for worker in dead:
            self.claims.put_back(claimed_key(self.claims.queue.name, worker))
        orphans = self._executions_of(set(dead))
        taken = sum(
            self.claims.take_back(orphans[start : start + BATCH], crashed=True)
            for start in range(0, len(orphans), BATCH)
        )
        self._forget(dead)
        return taken

    def _dead_workers(self) -> list[str]:
        """Dead: says so itself, its key has gone, or its process on this host has."""
        members = self.connection.smembers(self.claims.claimants_key)
        names = sorted(as_text(name) for name in members)
        names = [name for name in names if name != self.claims.worker]
        with self.connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hmget(worker_key(name), "pid", "host", "death")
            replies = pipeline.execute()
        return [
            name
            for name, (pid, host, death) in zip(names, replies, strict=True)
            if pid is None
            or death is not None
            or (host == self.host.encode() and not is_running(int(pid)))
        ]

    def _executions_of(self, workers: set[str]) -> list[tuple[str, str]]:
        """List started executions of these workers, and those whose lease ran out."""
        registry = self.claims.queue.started_job_registry
        members: list[Any] = self.connection.zrange(registry.key, 0, -1)
        pairs = [parse_composite_key(as_text(member)) for member in members]
        with self.connection.pipeline(transaction=False) as pipeline:
            for job_id, execution_id in pairs:
                pipeline.hget(f"rq:execution:{job_id}:{execution_id}", "worker_name")
            owners = pipeline.execute()
        return [
            (job_id, execution_id)
            for (job_id, execution_id), owner in zip(pairs, owners, strict=True)
            if owner is None or owner.decode() in workers
        ]

    def _forget(self, dead: Sequence[str]) -> None:
        with self.connection.pipeline(transaction=True) as pipeline:
            pipeline.srem(self.claims.claimants_key, *dead)
            pipeline.delete(*(worker_key(name) for name in dead))
            pipeline.execute()
        worker_registration.clean_worker_registry(self.claims.queue)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
