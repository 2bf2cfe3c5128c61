"""Log lines of the daemons."""

import logging

import pytest

from contextvqa import logs

FORGED = "a job\n2026-01-01 00:00:00,000 INFO ready: \x1b]0;owned\x07\u2028\u202e"


def test_an_event_stays_on_its_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()

    logging.getLogger("contextvqa").warning("rejected: %s", FORGED)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.endswith(
        r"rejected: a job\n2026-01-01 00:00:00,000 INFO ready: \x1b]0;owned\x07\u2028\u202e"
    )


def test_a_traceback_keeps_its_lines_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()

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
