"""The command `contextvqa parse`: raw texts in, records or reasons out, and nothing else."""

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click
import orjson

from contextvqa.errors import SinkError, UsageError
from contextvqa.records import RecordId, to_line
from refiner.parser.parsing import Parsed, parse

_EXPECTED = 'a JSON object with "id" and "vqa"'
_STDIN = "-"
#: How much of what is left over is shown.
_MAX_LEFTOVER_CHARS = 80

#: What JSON calls the types of Python.
_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


class _RawText(NamedTuple):
    """One line of the input."""

    id: RecordId
    vqa: str
    finish_reason: str


@click.command()
@click.argument("file", default=_STDIN)
def command(file: str) -> None:
    """
    Parse raw texts, without queue or model.

    FILE (default: standard input) holds one {"id", "vqa", "finish_reason"} per line; without
    "finish_reason" the text counts as finished. Writes one {"id", "context", "qas", "reason",
    "layout", "truncated", "leftover"} per line. "reason" is null where the text makes a record;
    "truncated" says whether the text breaks off; "leftover" counts the characters that are neither
    article nor pair nor heading, and shows the first of them. A line that cannot be read is
    reported and left out; the command then ends with exit code 2.
    """
    source = "standard input" if file == _STDIN else click.format_filename(file)
    with _open(file) as lines:
        try:
            num_lines, num_bad = _parse_lines(lines, sys.stdout.buffer, source=source)
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # `| head` has seen enough: nothing is wrong.
        except OSError as error:
            _abandon_stdout()
            raise SinkError(f"Cannot go on from {source} to standard output: {error}.") from error
    if num_bad:
        raise UsageError(
            f"{num_bad} of {num_lines} lines of {source} could not be read; each must be "
            f"{_EXPECTED}."
        )


def _open(file: str) -> AbstractContextManager[BinaryIO]:
    if file == _STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(
            f"Cannot read {click.format_filename(file)}: {error.strerror}; expected a file of "
            "JSON lines."
        ) from error


def _abandon_stdout() -> None:
    """Let nothing be written any more, so that Python's own flush at exit cannot fail either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parse_lines(lines: Iterable[bytes], out: BinaryIO, *, source: str) -> tuple[int, int]:
    """Return the number of lines that are not blank, and of those that could not be read."""
    num_lines = num_bad = 0
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        num_lines += 1
        try:
            raw = _decode(line)
        except ValueError as error:
            num_bad += 1
            click.echo(f"{source}: line {number}: {error}", err=True)
        else:
            out.write(to_line(_parse_text(raw)))
    return num_lines, num_bad


def _decode(line: bytes) -> _RawText:
    """
    Read one line.

    Raises:
        ValueError: It is not what the command reads. The message says what was found.

    """
    try:
        value = orjson.loads(line.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1}; expected {_EXPECTED}") from error
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error}); expected {_EXPECTED}") from error
    if not isinstance(value, dict):
        raise ValueError(f"found {_TYPE_NAMES[type(value)]}; expected {_EXPECTED}")  # noqa: TRY004
    value.setdefault("finish_reason", None)
    return _RawText(
        id=_member(value, "id", str, int),
        vqa=_member(value, "vqa", str),
        finish_reason=_member(value, "finish_reason", str, type(None)) or "stop",
    )


def _member(value: dict[str, Any], name: str, *kinds: type) -> Any:
    expected = " or ".join(_TYPE_NAMES[kind] for kind in kinds)
    if name not in value:
        raise ValueError(f'no "{name}"; expected {expected}')
    found = value[name]
    # By the type itself: to JSON, true is no integer.
    if type(found) not in kinds:
        raise ValueError(f'"{name}" is {_TYPE_NAMES[type(found)]}; expected {expected}')
    return found


def _parse_text(raw: _RawText) -> dict[str, object]:
    parsed = parse(raw.vqa, raw.finish_reason)
    if isinstance(parsed, Parsed):
        found = parsed.context_vqa
        outcome = {"context": found.context, "qas": found.qas, "reason": None}
        layout = parsed.layout
    else:
        outcome = {"context": parsed.context, "qas": (), "reason": parsed.reason}
        layout = None
    leftover = {"chars": len(parsed.leftover), "begin": parsed.leftover[:_MAX_LEFTOVER_CHARS]}
    return {
        "id": raw.id,
        **outcome,
        "layout": layout,
        "truncated": parsed.is_truncated,
        "leftover": leftover,
    }
