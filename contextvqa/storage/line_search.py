"""Finding the lines of one record in a run's file, without decoding the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from contextvqa.records import RecordId
from contextvqa.storage.follower import OnRead

#: Bytes read at once. Searching them takes milliseconds.
CHUNK_BYTES = 1 << 24

#: A line, decoded.
RunLine = dict[str, Any]


def lines_of_key(path: Path, key: str, on_read: OnRead) -> Iterator[RunLine]:
    """
    Yield the lines of a key, oldest first.

    Args:
        on_read: Told how many bytes are read, and how many there are.

    """
    for line in _lines_with(path, key.encode(), on_read):
        if line["meta"]["key"] == key:
            yield line


def lines_of_id(path: Path, record_id: RecordId, on_read: OnRead) -> Iterator[RunLine]:
    """Yield the lines of the records that have this id in their input, as `lines_of_key` does."""
    for line in _lines_with(path, b'{"id":' + orjson.dumps(record_id) + b",", on_read):
        if line["id"] == record_id:
            yield line


def _lines_with(path: Path, sign: bytes, on_read: OnRead) -> Iterator[RunLine]:
    """Yield the whole lines that hold some bytes; a line that is none of ours is passed over."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        num_bytes = path.stat().st_size
        rest = b""
        while chunk := file.read(CHUNK_BYTES):
            data = rest + chunk
            end = data.rfind(b"\n") + 1
            for line in _around(data, sign, end):
                if _is_ours(line):
                    yield line
            rest = data[end:]
            on_read(file.tell(), num_bytes)


def _around(data: bytes, sign: bytes, end: int) -> Iterator[Any]:
    """Yield each line before *end* that holds the sign, decoded; None for one that is no JSON."""
    found = data.find(sign, 0, end)
    while found >= 0:
        line_end = data.index(b"\n", found)
        try:
            yield orjson.loads(data[data.rfind(b"\n", 0, found) + 1 : line_end])
        except orjson.JSONDecodeError:
            yield None
        found = data.find(sign, line_end, end)


def _is_ours(line: Any) -> bool:
    return isinstance(line, dict) and "id" in line and "key" in (line.get("meta") or ())
