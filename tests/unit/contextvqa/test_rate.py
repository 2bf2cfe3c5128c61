"""The rate of a run over the last minute of looks."""

from contextvqa.watching.rate import WINDOW_S, RateWindow
from contextvqa.watching.report import duration


def test_one_look_has_no_rate_and_two_have() -> None:
    window = RateWindow()

    window.note(100, 10.0)
    assert window.rate is None
    window.note(130, 20.0)
    assert window.rate == 3.0


def test_what_was_long_ago_does_not_count() -> None:
    window = RateWindow()
    for second in range(0, 601, 2):
        # Fast for five minutes, then slow.
        window.note(min(second, 300) * 100 + max(0, second - 300), float(second))

    assert window.rate == 1.0


def test_a_pause_between_looks_that_is_longer_than_the_window_is_averaged_over() -> None:
    window = RateWindow()
    window.note(0, 0.0)
    window.note(600, 10 * WINDOW_S)

    assert window.rate == 1.0


def test_a_wait_is_said_in_the_units_that_people_wait_in() -> None:
    assert [duration(seconds) for seconds in (None, 59, 61, 7300)] == [
        *("-", "59 s", "1 min 1 s", "2 h 1 min")
    ]
