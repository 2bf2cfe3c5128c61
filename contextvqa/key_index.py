"""
The keys in one JSONL file of a run, and at which attempt each of them got its line.

Every file is read once, front to back; each further look reads what was appended since.
"""

import errno
from collections.abc import Callable
from pathlib import Path

import orjson

from contextvqa.errors import RunError, SinkError

#: Bytes read at once when following a file; more for a longer line.
CHUNK_BYTES = 1 << 22

#: What the operating system says when one run's own files are at fault, not what they lie on.
RUN_ERRNOS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
)


class KeyIndex:
    """
    The keys in one file with their last attempts, read on from where the last look ended.

    Args:
        on_damaged: Called with each whole line that is no record; reading goes on when it returns.
            By default it raises.

    """

    def __init__(self, path: Path, on_damaged: Callable[[RunError], None] | None = None) -> None:
        self.path = path
        #: Bytes of whole lines read so far.
        self.offset = 0
        #: Whole lines, and how many of them are no records.
        self.num_lines = 0
        self.num_damaged = 0
        #: Keys with more than one line.
        self.repeated: set[bytes] = set()
        self._on_damaged = on_damaged or _raise
        self._attempts: dict[bytes, int] = {}

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._attempts

    def __len__(self) -> int:
        return len(self._attempts)

    def attempt(self, key: str) -> int:
        """Return the last attempt that a key has a line of, 0 where it has none."""
        return self._attempts.get(bytes.fromhex(key), 0)

    def count_outside(self, other: "KeyIndex") -> int:
        """Return how many keys are here and not in another file."""
        return len(self._attempts.keys() - other._attempts.keys())  # noqa: SLF001 - our own kind

    def follow(self) -> None:
        """
        Read the whole lines that were appended since; an unfinished last line waits.

        Raises:
            RunError: A whole line is no record, or the file may not be read. Names the line.
            SinkError: The device does not let us read.

        """
        try:
            with self.path.open("rb") as file:
                size = CHUNK_BYTES
                while True:
                    file.seek(self.offset)
                    chunk = file.read(size)
                    if self._read_lines(chunk):
                        continue
                    if len(chunk) < size:
                        break
                    size *= 2
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(f"cannot read {self.path}", error) from error

    def add(self, line: bytes) -> None:
        """
        Note a whole line that stands at `offset`.

        Raises:
            RunError: It is no record.

        """
        try:
            key, attempt = entry_of(line)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            damage = RunError(
                f"{self.path}, line {self.num_lines + 1} (byte {self.offset}) is no record of this "
                f"pipeline ({type(error).__name__}: {error}); repair or remove that line."
            )
            self._on_damaged(damage)
            self.num_damaged += 1
        else:
            before = self._attempts.get(key, 0)
            if before:
                self.repeated.add(key)
            self._attempts[key] = max(before, attempt)
        self.offset += len(line)
        self.num_lines += 1

    def _read_lines(self, chunk: bytes) -> bool:
        end = chunk.rfind(b"\n") + 1
        for line in chunk[:end].splitlines(keepends=True):
            self.add(line)
        return end > 0


def entry_of(line: bytes) -> tuple[bytes, int]:
    """
    Return the key and the attempt of a line; a line that names no attempt is of the first.

    Raises:
        ValueError: It is no JSON. TypeError, KeyError, AttributeError: it is no record.

    """
    fields = orjson.loads(line)
    meta = fields["meta"]
    key = bytes.fromhex(meta["key"])
    attempt = fields.get("attempts", meta.get("attempt", 1))
    if type(attempt) is not int or attempt < 1:
        raise ValueError(f"its attempt is {attempt!r}")
    return key, attempt


def failure(what: str, error: OSError) -> RunError | SinkError:
    """Return what the system's refusal means: one run's own files, or the device under all."""
    if error.errno in RUN_ERRNOS:
        return RunError(
            f"{what}: {error.strerror}; the run's files must be there, and this user must have "
            "the right to read and write them."
        )
    return SinkError(
        f"{what}: {error.strerror}; nothing is lost: mend the disk or mount, and start again."
    )


def _raise(damage: RunError) -> None:
    raise damage
