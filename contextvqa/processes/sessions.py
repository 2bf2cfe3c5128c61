"""
The processes of one session: found, measured, killed.

A worker process leads a session of its own, which all that its engine starts stays in. So they can
be told from everything else even when the worker process is gone and init has adopted them.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator

import psutil

log = logging.getLogger("contextvqa")

#: Variable in the environment of the engine processes of a worker, and of no other program's.
MARKER = "CONTEXTVQA_WORKER"
#: Seconds that killed processes get to be gone. One that hangs in a driver may never be.
KILL_PATIENCE_S = 10.0
#: Seconds between looks at them.
LOOK_INTERVAL_S = 0.02


def kill_session(session: int) -> None:
    """Kill every process of a session; return when they are gone, within seconds anyhow."""
    deadline = time.monotonic() + KILL_PATIENCE_S
    # Again and again: one that is about to die may still start another.
    while processes := _living(session):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if time.monotonic() > deadline:
            log.warning("processes %s were killed and do not go", [p.pid for p in processes])
            return
        time.sleep(LOOK_INTERVAL_S)


def kill_orphans() -> None:
    """
    Kill what worker processes of this user that are gone have left behind on this host.

    An engine outlives a worker process that was killed, and holds its GPU for ever. One whose
    worker process lives is spared, be it under this supervisor, another one, or none any more.
    """
    for session in {_session_of(process.pid) for process in _processes() if _is_marked(process)}:
        if session and not _living_leader(session):
            for process in _living(session):
                log.warning("killing %s, left behind by a worker process", _describe(process))
            kill_session(session)


def sessions_below(pid: int) -> set[int]:
    """Return the sessions of a process's descendants; of none when it is gone."""
    try:
        descendants = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    return {_session_of(process.pid) for process in descendants} - {0}


def memory_bytes(session: int) -> int:
    """
    Return the memory that the processes of a session have for themselves.

    Resident pages without those of files and shared memory: what grows when something leaks. The
    exact shares would mean a walk through all page tables, which stalls a process of many GB.
    """
    total = 0
    for process in _living(session):
        with contextlib.suppress(psutil.Error):
            info = process.memory_info()
            total += info.rss - getattr(info, "shared", 0)
    return total


def _processes() -> Iterator[psutil.Process]:
    """Look anew: `process_iter` keeps what it found days ago, whose numbers are others' by now."""
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            yield psutil.Process(pid)


def _living(session: int) -> list[psutil.Process]:
    return [
        process
        for process in _processes()
        if _session_of(process.pid) == session and not _has_ended(process)
    ]


def _living_leader(session: int) -> bool:
    """Whether a session's leader lives. Its number is given to no other while the session is."""
    try:
        return not _has_ended(psutil.Process(session))
    except psutil.NoSuchProcess:
        return False


def _session_of(pid: int) -> int:
    """Return a process's session; 0 when it is gone, or led from outside this container."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie, which holds nothing any more."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _is_marked(process: psutil.Process) -> bool:
    try:
        return process.uids().real == os.getuid() and MARKER in process.environ()
    except (psutil.Error, OSError):
        return False


def _describe(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.name()} ({process.pid})"
    return f"process {process.pid}"
