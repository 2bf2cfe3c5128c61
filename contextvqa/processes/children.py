"""The processes that `contextvqa run` starts, watches and stops."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

from contextvqa.errors import ERROR_PREFIX, UsageError
from contextvqa.logs.lines import message_of
from contextvqa.options import ENVIRONMENT_PREFIX
from contextvqa.processes.sessions import kill_orphans, kill_session, sessions_below
from contextvqa.progress import say


class Child:
    """
    One `contextvqa` command in a process group of its own.

    The terminal's Ctrl-C does not reach it: its parent stops it in order. If the parent is killed,
    its standard input closes, on which the daemons stop.

    Args:
        environment: Settings in it, and no others of our own environment, are the command's.
        log_path: Where its output goes. None for a command whose messages are for the user: they
            are said as they come, and its stdout is kept.
        is_quiet: Its messages were said before, by an earlier such child.

    """

    def __init__(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        log_path: Path | None = None,
        *,
        is_quiet: bool = False,
    ) -> None:
        self.command = arguments[0]
        self.log_path = log_path
        log = _open_log(log_path) if log_path else None
        # A setting in our environment may not be meant for it.
        others = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "contextvqa", *arguments],
            stdin=subprocess.PIPE if log else None,
            stdout=log or subprocess.PIPE,
            stderr=log or subprocess.PIPE,
            start_new_session=True,
            env={**others, **environment},
        )
        self._is_gone = False
        self._output = b""
        self._relay: threading.Thread | None = None
        if log:
            log.close()
        else:
            self._relay = threading.Thread(
                target=self._say_messages, args=(is_quiet,), name="relay", daemon=True
            )
            self._relay.start()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self, timeout_s: float) -> None:
        """Ask it to stop; what is left of its group after `timeout_s` is killed."""
        if self.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """
        Kill it and all that it started.

        A worker process under a supervisor leads a session of its own, and outlives it by a drain.
        If it was killed before, its engine is left.
        """
        if self._is_gone:
            return  # its process id may be another's by now
        sessions = sessions_below(self._process.pid) if self.poll() is None else set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for session in sessions:
            kill_session(session)
        kill_orphans()
        self._is_gone = True

    def output(self) -> bytes:
        """Return what an ended child without a log printed on stdout, once all else is said."""
        assert self._relay is not None  # noqa: S101 - our own invariant
        assert self._process.stdout is not None  # noqa: S101
        self._relay.join()
        if not self._process.stdout.closed:
            with self._process.stdout as stdout:
                self._output = stdout.read()
        return self._output

    def _say_messages(self, is_quiet: bool) -> None:
        """Say what it says: above the progress bar, not across it."""
        assert self._process.stderr is not None  # noqa: S101 - our own invariant
        for line in self._process.stderr:
            if not is_quiet:
                say(line.decode("utf-8", "replace").rstrip("\n"))

    def error(self) -> str:
        """Say in one line why an ended child with a log ended."""
        assert self.log_path is not None  # noqa: S101 - our own invariant
        for line in reversed(self.log_path.read_text("utf-8", "replace").splitlines()):
            message = message_of(line)
            if message.startswith(ERROR_PREFIX):
                return message.removeprefix(ERROR_PREFIX)
        code = self.poll() or 0
        return f"the {self.command} {ending(code)}; its log is {self.log_path}"


def ending(code: int) -> str:
    """Say how a process ended."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _open_log(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return cast("BinaryIO", path.open("wb", buffering=0))
    except OSError as error:
        raise UsageError(f"cannot write the log {path}: {error.strerror}.") from error
