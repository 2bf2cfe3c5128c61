"""Log lines as text, and as JSON: what they carry, and what becomes of all that is printed besides."""

import logging
import sys
from typing import Any

import orjson
import pytest

from contextvqa.logs import context
from contextvqa.logs.lines import MAX_CHARS, JsonFormatter, message_of
from contextvqa.logs.relay import MAX_LINE_BYTES, Lines
from contextvqa.logs.setup import configure_daemon
from contextvqa.settings import Logs

FORGED = "a job\n2026-01-01 00:00:00,000 INFO ready: \x1b]0;owned\x07\u2028\u202e"


def test_an_event_stays_on_its_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    configure_daemon(Logs())

    logging.getLogger("contextvqa").warning("rejected: %s", FORGED)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.endswith(
        r"rejected: a job\n2026-01-01 00:00:00,000 INFO ready: \x1b]0;owned\x07\u2028\u202e"
    )


def test_a_traceback_keeps_its_lines_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_daemon(Logs())

    try:
        fail("\x1b[31mred")
    except ValueError:
        logging.getLogger("contextvqa").exception("failed: %s", "a job")

    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == r"ValueError: \x1b[31mred"
    assert all(line.isprintable() for line in lines)


def fail(message: str) -> None:
    """Raise an error that quotes what somebody wrote."""
    raise ValueError(message)


@pytest.fixture
def written() -> list[dict[str, Any]]:
    """The lines of a relay, decoded."""
    return []


@pytest.fixture
def lines(written: list[dict[str, Any]]) -> Lines:
    return Lines({"run": "r"}, lambda line: written.append(orjson.loads(line)))


def logged(message: str, *arguments: object, exc_info: Any = None) -> dict[str, Any]:
    record = logging.LogRecord(
        "contextvqa", logging.WARNING, "file.py", 1, message, arguments, exc_info
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    fields: dict[str, Any] = orjson.loads(line)
    return fields


def test_a_line_says_when_how_bad_who_and_what_it_is_about() -> None:
    with context.about({"run": "r", "key": "ab"}):
        fields = logged("retry %d", 2)
    after = logged("beat")

    assert fields["time"].endswith("+00:00")
    assert (fields["level"], fields["logger"]) == ("WARNING", "contextvqa")
    assert (fields["message"], fields["run"], fields["key"]) == ("retry 2", "r", "ab")
    assert fields["host"]
    assert fields["pid"]
    assert "key" not in after


def test_a_traceback_is_part_of_its_line() -> None:
    try:
        int("redis://user:secret@host/0")
    except ValueError:
        fields = logged("failed", exc_info=sys.exc_info())

    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["exception"].endswith("with base 10: 'redis://host/0'")


def test_a_line_shows_no_password_and_keeps_the_end_of_what_is_too_long() -> None:
    fields = logged("x" * MAX_CHARS + " at %s \udce9", "rediss://:secret@host:1/0?password=secret")

    assert fields["message"].endswith("xx at rediss://host:1/0 ?")
    assert len(fields["message"]) == MAX_CHARS + 1


def test_what_is_printed_becomes_the_message_of_a_line(
    lines: Lines, written: list[dict[str, Any]]
) -> None:
    lines.take(b"[W utils.cpp:68] Warning: redis://:pw@h/0\n\n  \ncontextvqa: error: no GPU\n", 7)

    assert [line["message"] for line in written] == [
        "[W utils.cpp:68] Warning: redis://h/0",
        "contextvqa: error: no GPU",
    ]
    assert [line["level"] for line in written] == ["INFO", "ERROR"]
    assert {(line["logger"], line["run"], line["pid"]) for line in written} == {("printed", "r", 7)}


def test_log_lines_pass_as_they_are_and_other_json_is_a_message(
    lines: Lines, written: list[dict[str, Any]]
) -> None:
    ours = {"time": "t", "level": "INFO", "message": "m"}

    lines.take(orjson.dumps(ours) + b'\n{"level": 1}\n{broken\n', 7)

    assert written[0] == ours
    assert [line["message"] for line in written[1:]] == ['{"level": 1}', "{broken"]


def test_processes_that_write_at_once_do_not_get_into_each_others_lines(
    lines: Lines, written: list[dict[str, Any]]
) -> None:
    lines.take(b"one be", 1)  # as a long line comes, in pieces
    lines.take(b"two", 2)
    lines.take(b"gins\n", 1)
    lines.finish()

    assert [(line["pid"], line["message"]) for line in written] == [(1, "one begins"), (2, "two")]


def test_of_a_progress_bar_the_last_state_is_told(
    lines: Lines, written: list[dict[str, Any]]
) -> None:
    for percent in range(0, 101, 10):
        lines.take(f"\rLoading: {percent}%".encode(), 1)
    lines.take(b"\n", 1)
    lines.take(b"with both ends\r\n", 1)

    assert [line["message"] for line in written] == ["Loading: 100%", "with both ends"]


def test_a_line_without_an_end_does_not_fill_the_memory(
    lines: Lines, written: list[dict[str, Any]]
) -> None:
    for _ in range(3):
        lines.take(b"x" * MAX_LINE_BYTES, 1)
    for pid in range(2, 1000):
        lines.take(b"begun", pid)

    assert len(written) > 700


def test_the_message_is_found_in_either_form() -> None:
    assert message_of('{"message": "a"}') == "a"
    assert [message_of(line) for line in ("plain", "{", '{"a": 1}')] == ["plain", "{", '{"a": 1}']
