"""
Read an input file row by row, in constant memory: the seed's JSON array, or JSONL.

A row that cannot be used is a `BadRow` and costs no other; a file that cannot be is a `UsageError`.
"""

import codecs
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import orjson

from contextvqa.errors import UsageError
from producer.json_array import BLANKS, first_place, split_array
from producer.row import BadRow, Row, RowError, parse_row

__all__ = ["BadRow", "Row", "read_rows"]

#: One read of a JSON array.
READ_BYTES = 1 << 16
#: A longer row is no row but a file that was meant otherwise, and would fill the memory.
MAX_ROW_BYTES = 16 << 20


def read_rows(path: Path | str) -> Iterator[Row | BadRow]:
    """
    Yield the rows of an input file in order.

    Args:
        path: A JSON array or JSONL, UTF-8 with or without byte order mark, told apart by the first
            character. "-" is standard input. A pipe will do: it is read once, front to back.

    Yields:
        Bad rows in their place: each costs only itself. Where a JSON array itself breaks off, or
        is followed by more, a `BadRow` is the last item.

    Raises:
        UsageError: The file cannot be read, holds no rows, or is neither format. From the first
            item on, never before.

    """
    name = "standard input" if str(path) == "-" else repr(str(path))
    try:
        with open_input(path) as file:
            yield from rows_of(file, name)
    except OSError as error:
        raise UsageError(f"Input {name} cannot be read: {error.strerror or error}.") from error


def open_input(path: Path | str) -> AbstractContextManager[BinaryIO]:
    """Open the input for reading; standard input stays open when the context ends."""
    if str(path) == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except ValueError as error:  # A NUL byte, or a character that no file name can have.
        raise FileNotFoundError(str(error)) from error


def rows_of(file: BinaryIO, name: str) -> Iterator[Row | BadRow]:
    """Yield the rows of an open input. *name* is for messages about the whole of it."""
    first, line, place = first_character(file)
    if not first:
        raise UsageError(f"Input {name} holds no rows: it is empty.")
    if first == b"{":
        yield from rows_of_lines(file, first, line)
        return
    if first != b"[":
        raise UsageError(f"Input {name} {describe_start(first + file.read(15))}")
    yield from rows_of_array(file, place + 1, name)


def first_character(file: BinaryIO) -> tuple[bytes, int, int]:
    """Return the first byte after byte order mark and blanks, its line and its place, from 1."""
    line, place = 1, 1
    byte = file.read(1)
    if byte == codecs.BOM_UTF8[:1]:
        byte += file.read(2)
        if byte != codecs.BOM_UTF8:
            return byte, line, place
        byte = file.read(1)
        place += len(codecs.BOM_UTF8)
    while byte and byte in BLANKS:
        line += byte == b"\n"
        place += 1
        byte = file.read(1)
    return byte, line, place


def describe_start(start: bytes) -> str:
    """Say what a file that is neither format begins with."""
    expected = "expected '[' (a JSON array) or '{' (JSONL)"
    try:
        # Incremental, because the start may end amid a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return f"is not UTF-8: it begins with the bytes {start.hex(' ')}; {expected}."
    return f"is not JSON: it begins with {text!r}; {expected}."


def rows_of_array(file: BinaryIO, place: int, name: str) -> Iterator[Row | BadRow]:
    """Yield the rows of a JSON array; *file* stands behind its opening bracket, at *place*."""
    blocks = iter(lambda: file.read(READ_BYTES), b"")
    number = 0
    try:
        for number, (start, text) in enumerate(split_array(blocks, place, MAX_ROW_BYTES), 1):
            try:
                yield parse_row(number, decode(text))
            except RowError as error:
                message = f"byte {first_place(start, text):,}: {error}"
                yield BadRow(number=number, message=message)
    except RowError as error:
        number += 1
        yield BadRow(number=number, message=str(error))
    if not number:
        raise UsageError(f"Input {name} holds no rows: its array is empty.")


def rows_of_lines(file: BinaryIO, start: bytes, line: int) -> Iterator[Row | BadRow]:
    """Yield the rows of JSONL, whose first row begins with *start* on line number *line*."""
    number = 0
    text = start + file.readline(MAX_ROW_BYTES)
    while text:
        if text.strip(BLANKS):
            number += 1
            try:
                yield parse_row(number, decode(text))
            except RowError as error:
                yield BadRow(number=number, message=f"line {line:,}: {error}")
        if len(text) > MAX_ROW_BYTES:
            skip_line(file, text)
        text = file.readline(MAX_ROW_BYTES + 1)
        line += 1


def skip_line(file: BinaryIO, text: bytes) -> None:
    """Read on to the end of the line that *text* is a piece of."""
    while text and not text.endswith(b"\n"):
        text = file.readline(READ_BYTES)


def decode(text: bytes) -> object:
    """
    Decode the JSON of one row.

    Raises:
        RowError: It is too long, or no JSON.

    """
    if len(text) > MAX_ROW_BYTES:
        raise RowError(f"longer than {MAX_ROW_BYTES:,} bytes; expected one row in JSON.")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        character = max(1, error.pos + 1 - first_place(0, text))
        problem = f"no JSON: {error.msg} (its character {character:,})"
        raise RowError(f"{problem}; expected one row.") from error
