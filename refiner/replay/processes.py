"""The processes that replay on all cores: chunks in, answers out, in order."""

import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from contextvqa.errors import IncompleteError, RunError
from refiner.replay.replaying import Answer, Item, Replay

#: Chunks per process that are read ahead of the one that is written next.
AHEAD = 2
#: Ctrl-C reaches all processes of a terminal; what is said of it is the command's to say.
BLOCKED = frozenset({signal.SIGINT})


class ReplayProcesses:
    """
    Processes that each replay one chunk at a time; a context that ends them.

    Each has a pipe of its own, so that it ends with this process, however that ends.
    """

    def __init__(self, replay: Replay, count: int) -> None:
        self._count = count
        context = get_context("spawn")
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, replay), daemon=True)
            self._processes.append((process, ours, theirs))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="replay")

    def __enter__(self) -> Self:
        # A new process inherits which signals are blocked, from its first instruction on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        try:
            for process, ours, theirs in self._processes:
                process.start()
                theirs.close()
                self._idle.put(ours)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # They hold nothing that is not in files; and a thread may still wait for an answer.
        for process, _, _ in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process, ours, _ in self._processes:
            process.join()
            ours.close()

    def replay(self, chunks: Iterable[Sequence[Item]]) -> Iterator[Answer]:
        """
        Yield the answer to each chunk, in order, a few chunks behind those that are read.

        Raises:
            RunError: A line is none of this pipeline.
            IncompleteError: A process died.

        """
        waiting: deque[Future[Answer]] = deque()
        for chunk in chunks:
            waiting.append(self._threads.submit(self._ask, chunk))
            if len(waiting) > AHEAD * self._count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _ask(self, chunk: Sequence[Item]) -> Answer:
        connection = self._idle.get()
        try:
            connection.send(chunk)
            answer: Answer | RunError = connection.recv()
        except (EOFError, OSError) as error:
            raise IncompleteError(
                "a process that replays died; if the system was short of memory, run fewer with "
                "--jobs."
            ) from error
        finally:
            # One that died too: whoever takes it next is told so, and does not wait forever.
            self._idle.put(connection)
        if isinstance(answer, RunError):
            raise answer
        return answer


def _serve(connection: Connection, replay: Replay) -> None:
    """Answer until the pipe closes."""
    with suppress(EOFError, OSError):
        while True:
            try:
                answer: Answer | RunError = replay(connection.recv())
            except RunError as error:
                answer = error
            connection.send(answer)
