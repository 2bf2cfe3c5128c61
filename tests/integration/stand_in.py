"""A worker's part without an engine: real claims, real hand-over, texts as a test wants them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from contextvqa.errors import Reason
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.jobs import refine_job
from contextvqa.queueing.outcomes import Claim, Finished, Outcome, read_record, rejected
from contextvqa.queueing.queues import GENERATE
from contextvqa.queueing.reaper import process_identity
from contextvqa.records import ImageRecord
from tests.support import generation_of, read_lines, run_contextvqa

GOOD = """A number.

1. Question: Which is it?
   Answer: one
"""
#: Options of runs whose poor texts are rejected at once.
ONCE = ("--max-attempts", 1)
#: A text that the refiner rejects as `parse.no_pairs`.
BAD = "The fox is red."

#: What to write for a record; None: its image is not there.
Writer = Callable[[ImageRecord], str | None]


def generate(connection: redis.Redis, write: Writer) -> list[ImageRecord]:
    """Do all queued generate jobs; return their records."""
    claims = Claims(connection, GENERATE, "stand-in", process=process_identity(), result_ttl_s=300)
    records = []
    while claimed := claims.claim(256, 0):
        records += [read_record(claim) for claim in claimed]
        claims.settle([(claim, _outcome(claim, write)) for claim in claimed])
    connection.hdel(claims.claimants_key, claims.worker)
    return records


def _outcome(claim: Claim, write: Writer) -> Outcome:
    record = read_record(claim)
    text = write(record)
    if text is None:
        return rejected(claim, GENERATE, Reason.IMAGE_NOT_FOUND, "there is no such file")
    return Finished(follow_ups=(refine_job(generation_of(record, text)),))


def work_off(connection: redis.Redis, write: Writer, places: list[object]) -> list[ImageRecord]:
    """Do all queued records, from generation to line; return what was asked of the worker."""
    records = generate(connection, write)
    done = run_contextvqa("refiner", "--burst", *places)
    assert done.returncode == 0, done.stderr
    return records


def lines_of(run: Path, kind: str) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of one of a run's files by image, oldest first."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in read_lines(run / f"{kind}.jsonl"):
        lines.setdefault(line["image"][0], []).append(line)
    return lines
