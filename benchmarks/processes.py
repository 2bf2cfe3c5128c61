"""Programs and processes under measurement: the CPU time and memory they take, and their end."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import psutil

from contextvqa.errors import UnavailableError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ROOT = Path(__file__).parents[1]
#: How long a program may take to stop when it is asked to, in seconds.
STOP_TIMEOUT_S = 20.0


class Program:
    """A program and all that it starts, as a context manager that leaves none of them behind."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        processes = _tree(self._process.pid)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        # A program ends its own before itself; what is left now would stay for ever.
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def wait(self) -> None:
        """
        Return when it has ended well.

        Raises:
            UnavailableError: It has not.

        """
        if self._process.wait():
            raise self._failure()

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise UnavailableError if it has ended."""
        if self._process.poll() is not None:
            raise self._failure()

    def cpu_s(self) -> float:
        """Return the CPU time that it and all that it started have taken so far, in seconds."""
        return cpu_s_of(self._process.pid)

    def memory_bytes(self) -> int:
        """
        Return what it and all that it started have in memory for themselves.

        Resident pages without those of files and shared memory, as our worker counts its own.
        """
        total = 0
        for process in _tree(self._process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                info = process.memory_info()
                total += info.rss - info.shared
        return total

    def _failure(self) -> UnavailableError:
        lines = self.log.read_text("utf-8", "replace").split("\n")
        words = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return UnavailableError(f"{self.name} {how}: {words} (see {self.log})")


def cpu_s_of(pid: int) -> float:
    """Return the CPU time that a process and all that it started have taken so far, in seconds."""
    total_s = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent's time of ended children holds it when we look again
        total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def _tree(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def python_command(module: str, *arguments: str, python: Path | None = None) -> list[str]:
    """Return the command line of one of our modules, by default in our own environment."""
    return [str(python or sys.executable), "-m", module, *arguments]


def in_fresh_process(
    measure: Callable[Parameters, Result],
    *arguments: Parameters.args,
    **options: Parameters.kwargs,
) -> Result:
    """Return what a function of a module measures in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments, **options).result()
