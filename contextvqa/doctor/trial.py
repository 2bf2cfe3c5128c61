"""
Tries a directory out as runs use theirs, and leaves nothing in it.

    python -m contextvqa.doctor.trial DIRECTORY

Ends with 0, or with one line of what failed. A process of its own: a file system may hang for ever.
"""

import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import orjson

from contextvqa.errors import ContextVQAError, SinkError
from contextvqa.processes.parent import ask_for_signal
from contextvqa.storage.durable_file import DurableFile
from contextvqa.storage.key_set import KEY_BYTES
from contextvqa.storage.whole_file import write_whole

#: Ended in the middle, it still clears away.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(directory: Path) -> None:
    """Try it; raises SystemExit with what failed."""
    for signum in ENDINGS:
        signal.signal(signum, _end)
    ask_for_signal(signal.SIGTERM)
    try:
        with TemporaryDirectory(prefix=".doctor-", dir=directory) as place:
            try_out(Path(place))
    except ContextVQAError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"cannot write in {directory}: {error.strerror}")


def try_out(directory: Path) -> None:
    """
    Write, in two processes that take turns, what refiners write.

    Raises:
        ContextVQAError, OSError: It does not work.

    """
    path = directory / "results.jsonl"
    file = DurableFile(path)
    with file.locked():
        if _in_other_process(lambda: _lock_at_once(path)):
            raise SinkError(
                f"locks in {directory.parent} keep nobody out: refiners would write into each "
                "other's lines; put --runs-dir on a file system that has flock"
            )
        file.catch_up()
        file.append([_line(1)])
    if not _in_other_process(lambda: _append(path, _line(2))):
        raise SinkError(f"a second process cannot lock and append to files in {directory.parent}")
    with file.locked():
        file.catch_up()
    if path.read_bytes() != _line(1) + _line(2):
        raise SinkError(f"lines that two processes append in {directory.parent} get lost")
    file.close()
    for is_new in (True, False):
        write_whole(directory / "whole.json", b"{}", is_new=is_new)


def _end(*_: object) -> NoReturn:
    # The second one, of Ctrl-C and of the doctor's end, must not get between the clearing away.
    for signum in ENDINGS:
        signal.signal(signum, signal.SIG_IGN)
    sys.exit(1)


def _line(number: int) -> bytes:
    key = number.to_bytes(KEY_BYTES).hex()
    return orjson.dumps({"meta": {"key": key}}) + b"\n"


def _lock_at_once(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _append(path: Path, line: bytes) -> bool:
    file = DurableFile(path)
    with file.locked():
        file.catch_up()
        file.append([line])
    return True


def _in_other_process(act: Callable[[], bool]) -> bool:
    """Return what it returned there; False too where it failed."""
    pid = os.fork()
    if pid == 0:
        is_done = False
        try:
            is_done = act()
        finally:
            os._exit(not is_done)
    _, status = os.waitpid(pid, 0)
    return status == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
