"""
Runs that are paused: nothing of them is executed until somebody resumes them.

A paused run's jobs stay where they are; those that a daemon meets at the head of a queue are put
aside, in rq's deferred registry, so that they do not keep the runs behind them waiting. Daemons
bring them back once the run is resumed, so that `resume` is one atomic command and may be killed.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import orjson
import redis

from contextvqa.errors import RejectError
from contextvqa.queueing.queues import PAUSED
from contextvqa.records import from_payload


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Why a run is paused."""

    #: The kind of error that all failed with, or "operator".
    reason: str
    #: One of these errors, in its own words.
    message: str
    #: The process that paused it.
    by: str
    #: ISO 8601, UTC.
    at: str

    @classmethod
    def now(cls, reason: str, message: str, by: str) -> "Pause":
        """Return a pause that begins now."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(reason=reason, message=message, by=by, at=at)

    def describe(self, run: str) -> str:
        """Return what people read."""
        message = self.message.removesuffix(".")
        return f"run {run!r} is paused since {self.at} by {self.by}: {self.reason}: {message}"

    def advise(self, run: str) -> str:
        """Return the same, and what to do."""
        return f"{self.describe(run)}; when that is mended: contextvqa resume {run}"


def pause(connection: redis.Redis, run: str, why: Pause) -> bool:
    """Pause a run; the first reason stays. Return whether it was not paused yet."""
    return bool(connection.hsetnx(PAUSED, run, orjson.dumps(asdict(why)).decode()))


def resume(connection: redis.Redis, run: str) -> bool:
    """Let a run go on; return whether it was paused."""
    return bool(connection.hdel(PAUSED, run))


def pause_of(connection: redis.Redis, run: str) -> Pause | None:
    """Return why a run is paused; None for one that is not."""
    data = connection.hget(PAUSED, run)
    if data is None:
        return None
    try:
        return from_payload(orjson.loads(data), Pause)
    except (ValueError, RejectError) as error:
        # It is paused all the same: daemons look at the name alone.
        return Pause(
            reason="unreadable", message=f"no pause of this version: {error}", by="?", at="?"
        )
