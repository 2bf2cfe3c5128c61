"""The book itself: a comparison that overlooks something would make every other test here blind."""

from collections.abc import Callable

import orjson
import pytest
import redis

from tests.faults.conftest import MakeWorld
from tests.faults.ledger import Ledger
from tests.faults.plan import trials
from tests.faults.world import entries

Harm = Callable[[Ledger, redis.Redis], object]


def lines_of(ledger: Ledger) -> list[bytes]:
    """Return the lines of the results."""
    return ledger.directory.results_path.read_bytes().splitlines(keepends=True)


def write(ledger: Ledger, lines: list[bytes]) -> None:
    """Replace them."""
    ledger.directory.results_path.write_bytes(b"".join(lines))


def take_one(ledger: Ledger, _: redis.Redis) -> None:
    """Lose a line."""
    write(ledger, lines_of(ledger)[1:])


def repeat_one(ledger: Ledger, _: redis.Redis) -> None:
    """Write a line twice."""
    write(ledger, [lines_of(ledger)[0], *lines_of(ledger)])


def swap_texts(ledger: Ledger, _: redis.Redis) -> None:
    """Give two records each other's text."""
    first, second, *others = map(orjson.loads, lines_of(ledger))
    first["vqa"], second["vqa"] = second["vqa"], first["vqa"]
    write(ledger, [orjson.dumps(line) + b"\n" for line in (first, second, *others)])


def reject_one(ledger: Ledger, _: redis.Redis) -> None:
    """Reject a good record instead."""
    line = orjson.loads(lines_of(ledger)[0])
    line |= {"reason": "job.crashed", "stage": "refine", "message": "as this test says"}
    ledger.directory.rejects_path.write_bytes(orjson.dumps(line) + b"\n")
    take_one(ledger, redis.Redis())


HARMS: dict[str, tuple[str, Harm]] = {
    "a line is lost": ("lost", take_one),
    "a line is doubled": ("doubled", repeat_one),
    "texts are mixed up": ("mixed", swap_texts),
    "a good record is rejected": ("misjudged", reject_one),
    "a queue is not empty": ("left_over", lambda _, at: at.rpush("rq:queue:refine", "x")),
    "an execution is left": ("left_over", lambda _, at: at.hset("rq:execution:a:b", "id", "b")),
    "a claim is left": ("left_over", lambda _, at: at.rpush("contextvqa:claimed:refine:w", "x")),
    "a job is pending": ("left_over", lambda _, at: at.sadd("contextvqa:pending:trial", "k")),
    "a job is in no place": (
        "left_over",
        lambda _, at: at.zremrangebyrank("rq:finished:refine", 0, 0),
    ),
    "a job still starts": (
        "left_over",
        lambda _, at: at.zadd("rq:wip:generate", {"job:execution": 1}),
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_the_book_notices_that(make_world: MakeWorld, harm: str) -> None:
    kind, act = HARMS[harm]
    for trial in trials("ledger", 1):
        with make_world(trial, entries(5)) as world:
            world.finish()
            act(world.ledger, world.connection)
            findings = world.ledger.check(world.connection)
            assert getattr(findings, kind), f"{harm}: {findings}"
