"""The funnel as people read it."""

from dataclasses import replace

from contextvqa.watching.funnel import FunnelState, Pairs
from contextvqa.watching.funnel_text import summary, table
from contextvqa.watching.tally import GateCount, RejectCount

NO_PAIRS = Pairs(written=0, kept=0, by_written={}, by_kept={})
EMPTY = FunnelState(
    steps={"records": 0, "generated": 0, "parsed": 0, "gate.ir": 0, "accepted": 0},
    pairs=NO_PAIRS,
    attempts={},
    other_attempts={},
    gates={},
    rejects={},
)
FULL = FunnelState(
    steps={"records": 2000, "generated": 2000, "parsed": 1900, "gate.ir": 1900, "gate.cap": 950}
    | {"accepted": 950},
    pairs=Pairs(written=4000, kept=3800, by_written={}, by_kept=dict.fromkeys(range(10), 95)),
    attempts={1: 1800, 2: 200},
    other_attempts={"parse.empty": 1500, "gate.ir": 2},
    gates={"ir": GateCount(articles_dropped=3, articles_flagged=1200, pairs_dropped=4)},
    rejects={"gate.ir": RejectCount(count=1000, example_ids=[1, "b"], message="The article.")},
)
#: The ten numbers of pairs above, in eight.
BY_PAIRS = "0: 95, 1: 95, 2: 95, 3: 95, 4: 95, 5: 95, 6: 95, 7+: 285"


def test_the_table_is_aligned_and_shows_the_steps_at_which_records_were_lost() -> None:
    assert table(FULL) == [
        "  records        2,000",
        "  generated      2,000  100.0%",
        "  parsed         1,900   95.0%",
        "  past gate.cap    950   50.0%",
        "  accepted         950   47.5% of records",
        "  gate  articles dropped  flagged  pairs dropped  flagged",
        "  ir                   3    1,200              4        0",
        "  pairs: 3,800 of 4,000 written are kept (95.0%), 4.0 a record; records by pairs "
        + BY_PAIRS,
        "  records by attempts 1: 1,800, 2: 200; other attempts: 1,500 x parse.empty, 2 x gate.ir",
        "  1,000 x gate.ir, as id 1, 'b': The article.",
    ]


def test_the_summary_has_the_steps_in_one_line_and_no_table() -> None:
    assert summary(FULL) == [
        "  2,000 records -> 2,000 generated -> 1,900 parsed -> 950 past gate.cap -> 950 accepted",
        *table(FULL)[-3:],
    ]


def test_a_run_without_a_record_has_no_shares() -> None:
    assert table(EMPTY) == [
        "  records    0",
        "  generated  0       -",
        "  parsed     0       -",
        "  accepted   0       - of records",
    ]


def test_a_run_that_accepted_nothing_says_nothing_of_pairs() -> None:
    steps = EMPTY.steps | {"records": 1, "generated": 1}

    assert table(replace(EMPTY, steps=steps, attempts={1: 1}))[-1:] == [
        "  accepted   0    0.0% of records"
    ]


def test_attempts_of_retried_records_are_shown_although_their_lines_name_no_others() -> None:
    assert "  records by attempts 1: 3, 2: 4" in table(replace(EMPTY, attempts={1: 3, 2: 4}))
