"""
The relay: a small process between a command's standard error and the place where that went.

Libraries, C++ code and Python itself print what no log handler sees. So in JSON mode standard error
is a socket, for the command and for all that it starts, and the relay makes what comes out of it
lines of JSON: those that are pass unchanged, any other becomes the message of one.

It is a process of its own, and not a thread, because the last words of a process that crashes are the
ones that matter, and because a supervisor that is killed leaves worker processes behind, which go on
talking while they drain. It ends when nobody holds the other end any more.

A socket, and no pipe, because it says who wrote what (SO_PASSCRED): processes that write at the same
time do not get into each other's lines, however long those are.
"""

import atexit
import contextlib
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

import orjson

from contextvqa.errors import ERROR_PREFIX
from contextvqa.logs.context import Fields
from contextvqa.logs.lines import STDERR, to_json

#: What a line of JSON has that is passed on as it is.
FIELDS = frozenset(("time", "level", "message"))
#: The logger of what was printed and not logged.
PRINTED = "printed"
#: Bytes read at once.
CHUNK_BYTES = 1 << 16
#: Bytes of a line that somebody has begun, after which it counts as one. No log line has more.
MAX_LINE_BYTES = 1 << 18
#: Processes that may have begun a line; more have ended in the middle of one.
MAX_BEGUN = 256
#: Seconds at the end of a command for its last lines.
PATIENCE_S = 5.0
POLL_S = 0.005

_CREDENTIALS = struct.Struct("3i")
STDIN, STDOUT = 0, 1


def start(fields: Fields, *, takes_stdout: bool) -> None:
    """
    Have a relay between this process, with all that it starts, and its standard error.

    Call it before there are threads.

    Args:
        fields: What its own lines carry.
        takes_stdout: What is printed to standard output goes the same way.

    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        pid = os.fork()
        if pid == 0:
            ours.close()
            _serve(theirs, fields)
        os.dup2(ours.fileno(), STDERR)
        if takes_stdout:
            os.dup2(ours.fileno(), STDOUT)
    atexit.register(_finish, os.getpid(), pid, takes_stdout=takes_stdout)


def _serve(source: socket.socket, fields: Fields) -> None:
    """Be the relay; never return."""
    try:
        # Ctrl-C and a stop reach the whole group; there is more to say until its other members end.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        # Whoever waits for the end of what the command prints must not wait for us.
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, STDIN)
        os.dup2(nowhere, STDOUT)
        lines = Lines(fields, _write)
        while True:
            # Never of two writers at once.
            data, ancillary, _, _ = source.recvmsg(
                CHUNK_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
            )
            if not data:
                break
            lines.take(data, _sender(ancillary))
        lines.finish()
    finally:
        os._exit(0)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the process that wrote; 0 where the kernel does not say."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid: int = _CREDENTIALS.unpack(data)[0]
            return pid
    return 0


def _write(line: bytes) -> None:
    data = line + b"\n"
    # On a full disk lines are lost, and whoever writes them goes on.
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(STDERR, data) :]


def _finish(owner: int, pid: int, *, takes_stdout: bool) -> None:
    """Say no more, and let the relay say what it has: in a container it ends with this process."""
    if os.getpid() != owner:
        return  # a fork, whose lines go on
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    if takes_stdout:
        os.dup2(nowhere, STDOUT)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            return
        time.sleep(POLL_S)


class Lines:
    """
    Makes JSON lines of what processes write, however they cut it.

    Args:
        fields: What lines carry that are none of JSON yet.
        write: Gets each line, without its end.

    """

    def __init__(self, fields: Fields, write: Callable[[bytes], None]) -> None:
        self._fields = fields
        self._write = write
        #: What was written since the last end of a line, by process.
        self._begun: dict[int, bytes] = {}

    def take(self, data: bytes, pid: int) -> None:
        """Note what a process wrote at once."""
        *lines, rest = (self._begun.pop(pid, b"") + data).split(b"\n")
        for line in lines:
            self._end(line, pid)
        rest = _as_shown(rest)
        if len(rest) > MAX_LINE_BYTES:
            self._end(rest, pid)
        elif rest:
            self._begun[pid] = rest
        if len(self._begun) > MAX_BEGUN:
            oldest = next(iter(self._begun))
            self._end(self._begun.pop(oldest), oldest)

    def finish(self) -> None:
        """End the lines that were begun."""
        for pid, line in self._begun.items():
            self._end(line, pid)

    def _end(self, line: bytes, pid: int) -> None:
        line = _as_shown(line).strip()
        if not line:
            return
        if not _is_log_line(line):
            text = line.decode("utf-8", "replace")
            line = to_json(
                {"message": text, **self._fields},
                time_s=time.time(),
                level="ERROR" if text.startswith(ERROR_PREFIX) else "INFO",
                logger=PRINTED,
                pid=pid,
            ).encode()
        self._write(line)


def _as_shown(line: bytes) -> bytes:
    """Return what a terminal would show of a line in the end: of a progress bar its last state."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def _is_log_line(line: bytes) -> bool:
    """Whether a line is one of `JsonFormatter`, or as good."""
    if not line.startswith(b"{"):
        return False
    try:
        return FIELDS.issubset(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False
