"""What is shown of long work where there is no terminal."""

import pytest

from contextvqa import progress
from contextvqa.progress import ReadProgress


def test_reading_that_takes_long_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0)
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0)

    with ReadProgress("counting") as shown:
        shown.show(1_200_000_000, 5_000_000_000)

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "counting: 1,200 of 5,000 MB\n")


def test_reading_that_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ReadProgress("counting") as shown:
        shown.show(1, 2)

    assert capsys.readouterr().err == ""


def test_what_is_said_stays_on_its_line_whatever_it_quotes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress.say("  row 1: a\nrow 2: \x1b[2J[bold]x[/bold]")

    assert capsys.readouterr().err == "  row 1: a\\nrow 2: \\x1b[2J[bold]x[/bold]\n"
