"""
Read an input file row by row, in constant memory: the seed's JSON array, or JSONL.

    [{"image": path | [path, ...], "conversation"?: [{"from": "human", "value": prompt}], "id"?: …}]

A row that cannot be used is a `BadRow` and costs no other; a file that cannot be is a `UsageError`.
"""

import codecs
import re
import reprlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import ijson
import orjson

from contextvqa.errors import UsageError
from contextvqa.records import RecordId
from producer.prompt import DEFAULT_PROMPT

#: One read of a JSON array. At most so much of it is parsed ahead of the row in hand.
READ_BYTES = 1 << 16
#: A longer line is no row but a file that was meant otherwise, and would fill the memory.
MAX_LINE_BYTES = 16 << 20
#: Blanks between JSON values.
BLANKS = b" \t\r\n"
#: Beyond it, floats skip whole numbers, and two ids could become one.
EXACT_FLOAT = 2**53
#: What fits 64 bits, signed or not: all that orjson writes.
INT_IDS = range(-(2**63), 2**64)

#: Image placeholders, with their line where they stand alone on it.
PLACEHOLDERS = re.compile(r"^[^\S\n]*(?:<image>[^\S\n]*)+(?:\n|\Z)|<image>[^\S\n]*", re.MULTILINE)

#: JSON's names for what Python calls otherwise.
KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One usable row."""

    #: Position among all rows of the input, bad ones included; counts from 1.
    number: int
    id: RecordId | None
    #: References as given, at least one.
    image: tuple[str, ...]
    #: Without image placeholders: the images always come first.
    prompt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """One row that cannot be used."""

    #: As in `Row`.
    number: int
    #: What was found and what was expected; for JSONL it names the line too.
    message: str


class RowError(Exception):
    """Raised inside this module when a row cannot be used. It becomes the message of a BadRow."""


def read_rows(path: Path | str) -> Iterator[Row | BadRow]:
    """
    Yield the rows of an input file in order.

    Args:
        path: A JSON array or JSONL, UTF-8 with or without byte order mark, told apart by the first
            character. "-" is standard input. A pipe will do: it is read once, front to back.

    Yields:
        Bad rows in their place. Where a JSON array itself breaks, a `BadRow` is the last item,
        because nothing tells where the next row begins. A bad line of JSONL costs only itself.

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
    first, line = first_character(file)
    if not first:
        raise UsageError(f"Input {name} holds no rows: it is empty.")
    if first == b"{":
        yield from rows_of_lines(file, first, line)
        return
    if first != b"[":
        raise UsageError(f"Input {name} {describe_start(first + file.read(15))}")
    is_empty = True
    for row in rows_of_array(file, first):
        is_empty = False
        yield row
    if is_empty:
        raise UsageError(f"Input {name} holds no rows: its array is empty.")


def first_character(file: BinaryIO) -> tuple[bytes, int]:
    """Return the first byte after byte order mark and blanks, and the number of its line."""
    byte = file.read(1)
    if byte == codecs.BOM_UTF8[:1]:
        byte += file.read(2)
        if byte != codecs.BOM_UTF8:
            return byte, 1
        byte = file.read(1)
    line = 1
    while byte and byte in BLANKS:
        line += byte == b"\n"
        byte = file.read(1)
    return byte, line


def describe_start(start: bytes) -> str:
    """Say what a file that is neither format begins with."""
    expected = "expected '[' (a JSON array) or '{' (JSONL)"
    try:
        # Incremental, because the start may end amid a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return f"is not UTF-8: it begins with the bytes {start.hex(' ')}; {expected}."
    return f"is not JSON: it begins with {text!r}; {expected}."


def rows_of_array(file: BinaryIO, start: bytes) -> Iterator[Row | BadRow]:
    """Yield the rows of a JSON array that begins with *start* and goes on in *file*."""
    number = 0
    try:
        for number, value in enumerate(values_of_array(file, start), 1):
            yield parse_row(number, value)
    except RowError as error:
        yield BadRow(number=number + 1, message=str(error))


def values_of_array(file: BinaryIO, start: bytes) -> Iterator[object]:
    """Yield the elements of a JSON array, then raise RowError where it breaks."""
    values = ijson.sendable_list()
    # Pushed rather than pulled, because a pulled parser loses the elements before a break.
    # use_float, because without it ijson's C backend crashes on an integer of 5,000 digits.
    parser = ijson.items_coro(values, "item", use_float=True)
    num_bytes = 0
    try:
        for chunk in chain([start], iter(lambda: file.read(READ_BYTES), b"")):
            num_bytes += len(chunk)
            parser.send(chunk)
            yield from values
            values.clear()
        parser.close()
    except ijson.JSONError as error:
        yield from values
        raise RowError(describe_break(error, num_bytes)) from error


def describe_break(error: Exception, num_bytes: int) -> str:
    """Say where and why an array breaks, in one line of the parser's several."""
    detail = error.args[0] if error.args else ""
    text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    # A reason, some text around the break, and an arrow that points into it.
    reason, *around = text.splitlines() or [""]
    near = " ".join(" ".join(around[:-1]).split())
    place = f"near byte {num_bytes:,}, {near!r}" if near else f"near byte {num_bytes:,}"
    found = f"the array breaks here ({place}): {reason.strip('. ')}"
    return f"{found}; expected JSON up to the closing ']'. Rows after it cannot be read."


def rows_of_lines(file: BinaryIO, start: bytes, line: int) -> Iterator[Row | BadRow]:
    """Yield the rows of JSONL, whose first row begins with *start* on line number *line*."""
    number = 0
    text = start + file.readline(MAX_LINE_BYTES)
    while text:
        if text.strip(BLANKS):
            number += 1
            yield parse_line(number, text, line)
        if len(text) > MAX_LINE_BYTES:
            skip_line(file, text)
        text = file.readline(MAX_LINE_BYTES + 1)
        line += 1


def skip_line(file: BinaryIO, text: bytes) -> None:
    """Read on to the end of the line that *text* is a piece of."""
    while text and not text.endswith(b"\n"):
        text = file.readline(READ_BYTES)


def parse_line(number: int, text: bytes, line: int) -> Row | BadRow:
    """Read one line of JSONL."""
    if len(text) > MAX_LINE_BYTES:
        problem = f"longer than {MAX_LINE_BYTES:,} bytes; expected one row in JSON"
        return BadRow(number=number, message=f"line {line:,} is {problem}.")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problem = (
            f"line {line:,} is no JSON: {error.msg} (column {error.colno:,}); expected one row"
        )
        return BadRow(number=number, message=f"{problem}.")
    row = parse_row(number, value)
    if isinstance(row, BadRow):
        return BadRow(number=number, message=f"line {line:,}: {row.message}")
    return row


def parse_row(number: int, value: object) -> Row | BadRow:
    """Check one decoded row; fields other than `image`, `conversation` and `id` are ignored."""
    try:
        row = parse_object(value)
        return Row(
            number=number,
            id=parse_id(row.get("id")),
            image=parse_image(row),
            prompt=parse_prompt(row.get("conversation")),
        )
    except RowError as error:
        return BadRow(number=number, message=str(error))


def parse_object(value: object) -> dict[str, object]:
    """Return the row as the object that it must be."""
    if not isinstance(value, dict):
        raise RowError(f"the row is {describe(value)}; expected an object with `image`.")
    return value


def parse_id(value: object) -> RecordId | None:
    """
    Return a row's own id, None where it has none.

    A float that is a whole number is that number: dataframes turn the integers of a column with
    gaps into floats.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_FLOAT:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in INT_IDS:
        return value
    raise RowError(f"`id` is {describe(value)}; expected a whole number of 64 bits or a string.")


def parse_image(row: dict[str, object]) -> tuple[str, ...]:
    """Return a row's image references, at least one."""
    expected = "expected a path or a list of paths"
    if "image" not in row:
        raise RowError(f"`image` is missing; {expected}.")
    value = row["image"]
    references = value if isinstance(value, list) else [value]
    if not references:
        raise RowError(f"`image` is an empty list; {expected}.")
    for reference in references:
        if not isinstance(reference, str) or not reference:
            where = "holds" if isinstance(value, list) else "is"
            raise RowError(f"`image` {where} {describe(reference)}; {expected}.")
    return tuple(references)


def parse_prompt(conversation: object) -> str:
    """Return what the first human turn asks, the default prompt where it asks nothing."""
    if conversation is None or conversation == []:
        return DEFAULT_PROMPT
    if not isinstance(conversation, list):
        raise RowError(f"`conversation` is {describe(conversation)}; expected a list of turns.")
    for turn in conversation:
        if not isinstance(turn, dict):
            raise RowError(f"a turn is {describe(turn)}; expected an object with from and value.")
        if turn.get("from") == "human":
            return strip_placeholders(turn.get("value"))
    raise RowError('`conversation` has no turn with `from` "human"; expected one.')


def strip_placeholders(value: object) -> str:
    """Return a turn's text without image placeholders and the blanks around it."""
    if not isinstance(value, str):
        raise RowError(f"the human turn's `value` is {describe(value)}; expected a string.")
    return PLACEHOLDERS.sub("", value).strip() or DEFAULT_PROMPT


def describe(value: object) -> str:
    """Name a JSON value's kind and show the value, shortened."""
    kind = KINDS.get(type(value), "a number")
    return kind if value is None else f"{kind} ({reprlib.repr(value)})"
