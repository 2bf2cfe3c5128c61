"""
The supervisor of worker processes: starts them, watches them, starts another when one has ended.

An engine that died or hangs takes its process along: only a new one can be trusted. The supervisor
loads no engine and talks to no server, so that nothing of that can take it down as well. What
happens at one of its posts is not felt at the others: they share the signal to stop.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import NoReturn

import click

from contextvqa.errors import INTERRUPTED, ContextVQAError, UnavailableError
from contextvqa.processes.post import Patience, Post
from contextvqa.processes.sessions import kill_orphans
from contextvqa.processes.worker_process import STDIN, Pulse, SignalQueue, WorkerProcess, fork

log = logging.getLogger("contextvqa")

#: Seconds between looks, when nothing wakes the supervisor before.
LOOK_INTERVAL_S = 1.0
#: Least silence that counts as stuck, in seconds: pulses come every 3 s, on a busy machine later.
MIN_STALL_S = 15.0
#: Beyond the drain timeout, seconds that a worker process gets to settle and to end its engine.
STOP_MARGIN_S = 15.0


def supervise(
    names: Sequence[str],
    *,
    stall_timeout_s: float,
    drain_timeout_s: float,
    until_stdin_closes: bool,
) -> tuple[int, Pulse]:
    """
    Keep a worker process running for each name. Returns in them, never in the supervisor.

    A worker process goes on with the caller's work. Its standard input closes when the supervisor
    dies, on which it has to stop.

    Args:
        names: What each worker process runs on, for messages; empty where that goes without saying.
        stall_timeout_s: Silence of a worker process that was ready after which it is killed.
        drain_timeout_s: What the worker process itself allows for its drain.
        until_stdin_closes: End, as on SIGTERM, when this process's standard input closes.

    Returns:
        In a worker process, the index of its name, and the pulse: it has to call that when it is
        ready, and every 3 s from then on.

    Raises:
        click.exceptions.Exit: The supervisor has to end, with this exit code.
        UnavailableError: No worker process gets ready, or one had to be killed to stop it.

    """
    patience = Patience(
        stall_s=max(stall_timeout_s, MIN_STALL_S), stop_s=drain_timeout_s + STOP_MARGIN_S
    )
    posts = [Post(name, patience) for name in names]
    return _Supervisor(posts, until_stdin_closes=until_stdin_closes).run()


class _Supervisor:
    def __init__(self, posts: Sequence[Post], *, until_stdin_closes: bool) -> None:
        self._posts = posts
        self._stdin = [STDIN] if until_stdin_closes else []
        self._signals = SignalQueue()
        self._num_ready = 0
        self._is_stopping = False
        #: How we end when all posts are over.
        self._verdict: Exception = click.exceptions.Exit(0)

    def run(self) -> tuple[int, Pulse]:
        """Return in a worker process; raise when the supervisor has to end."""
        while True:
            for number, post in enumerate(self._posts):
                if not post.due_in_s():
                    kill_orphans()
                    started = fork(post.name, self._signals, self._processes())
                    if not isinstance(started, WorkerProcess):
                        return number, started
                    post.process = started
            stop_signals = self._wait()
            for post in self._posts:
                self._look_after(post)
            self._say_how_many_are_ready()
            for signum in stop_signals:
                self._stop(signum)

    def _processes(self) -> list[WorkerProcess]:
        return [post.process for post in self._posts if post.process is not None]

    def _wait(self) -> list[int]:
        """Sleep until something happens, for a second at most; return the signals to stop."""
        began = time.monotonic()
        processes = self._processes()
        pulses = [process.pulses for process in processes]
        timeout_s = min(LOOK_INTERVAL_S, *(post.due_in_s() for post in self._posts))
        readable, _, _ = select.select(
            [self._signals.reader, *self._stdin, *pulses], [], [], timeout_s
        )
        # Longer only when we were frozen ourselves, and the worker processes with us.
        elapsed_s = min(time.monotonic() - began, 2 * LOOK_INTERVAL_S)
        for process in processes:
            process.take_pulses(elapsed_s)
        stop_signals = [signum for signum in self._signals.take() if signum != signal.SIGCHLD]
        if STDIN in readable and not os.read(STDIN, 4096):
            self._stdin = []
            stop_signals.append(signal.SIGTERM)
        return stop_signals

    def _look_after(self, post: Post) -> None:
        ended = post.look_after()
        if ended is None:
            return
        if all(each.found_nothing_to_begin_with for each in self._posts):
            self._end(click.exceptions.Exit(UnavailableError.exit_code))
        error = post.follow_up(*ended)
        if error is not None:
            self._leave(post, error)

    def _leave(self, post: Post, error: Exception) -> None:
        """Go on without a post; end with how the last one ended."""
        post.is_over = True
        # A worker process that drains well must not hide one that did not.
        if _exit_code(error) or not self._is_stopping:
            self._verdict = error
        num_left = sum(not other.is_over for other in self._posts)
        if not num_left:
            raise self._verdict
        if _exit_code(error):
            log.error(
                "supervisor: %s is given up with code %d, %d of %d workers are left%s",
                post.name,
                _exit_code(error),
                num_left,
                len(self._posts),
                f": {error}" if isinstance(error, ContextVQAError) else "",
            )

    def _say_how_many_are_ready(self) -> None:
        num_ready = sum(post.is_ready for post in self._posts)
        if num_ready != self._num_ready and len(self._posts) > 1:
            log.info("supervisor: %d of %d workers are ready", num_ready, len(self._posts))
        self._num_ready = num_ready

    def _stop(self, signum: int) -> None:
        """Pass on that we are to stop; end at once if nothing can be in flight."""
        name = signal.Signals(signum).name
        ready = [post.process for post in self._posts if post.is_ready]
        if not ready:
            log.info("supervisor: %s, nothing in flight", name)
            self._end(click.exceptions.Exit(INTERRUPTED if signum == signal.SIGINT else 0))
        log.info("supervisor: %s, stopping %s", name, ", ".join(map(str, ready)))
        if not self._is_stopping:
            # What was given up before has been said, and is no fault of this stop.
            self._verdict = click.exceptions.Exit(0)
        self._is_stopping = True
        for post in self._posts:
            post.stop()

    def _end(self, error: Exception) -> NoReturn:
        for post in self._posts:
            post.abandon()
        raise error


def _exit_code(error: Exception) -> int:
    assert isinstance(error, (click.exceptions.Exit, ContextVQAError))  # noqa: S101 - a post's
    return error.exit_code
