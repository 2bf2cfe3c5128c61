"""Where a record is, and its trail, as people read them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rq.job import JobStatus

from contextvqa.errors import in_lines
from contextvqa.queueing.jobs import QUEUES
from contextvqa.queueing.pauses import Pause
from contextvqa.storage.line_search import RunLine
from contextvqa.watching.live_jobs import JobView, RecordInRedis
from contextvqa.watching.trail import iso

#: Events of one attempt begin with its number.
_WIDTH = len("tried before")


def place_of(
    results: Sequence[RunLine],
    rejects: Sequence[RunLine],
    in_redis: RecordInRedis,
    paused: Pause | None,
) -> dict[str, Any]:
    """Return where a record is now: `state`, with what there is to know of it, and a sentence."""
    job = in_redis.live_job
    if results:
        return {"state": "done", "text": "done: its line is in results.jsonl"}
    if job is not None:
        place = _place_of_job(job)
        if paused is not None:
            place["text"] += f"; the run is paused: {paused.reason}: {paused.message}"
        return place
    if rejects:
        reason, message = rejects[-1]["reason"], rejects[-1]["message"]
        return {"state": "rejected", "reason": reason, "text": f"rejected: {reason}: {message}"}
    if in_redis.is_pending:
        text = "pending, and no job carries it: enqueue the same input again"
        return {"state": "pending", "text": text}
    text = "it has a job that has ended, and no line; `contextvqa audit` tells of its row"
    return {"state": "lost", "text": text}


def _place_of_job(job: JobView) -> dict[str, Any]:
    queue = QUEUES[job.kind]
    place: dict[str, Any] = {"queue": queue}
    if job.status == JobStatus.STARTED.value:
        since = None if job.started_at is None else iso(job.started_at)
        place |= {"state": "in_flight", "worker": job.worker, "since": since}
        text = f"in flight in {job.worker} since {_clock(since)}"
    elif job.status == JobStatus.DEFERRED.value:
        place |= {"state": "put_aside"}
        text = f"put aside from queue {queue} until its run is resumed"
    elif job.position is None:
        place |= {"state": "queued", "position": None}
        text = f"on its way from queue {queue} to a worker"
    else:
        place |= {"state": "queued", "position": job.position + 1, "queued": job.num_queued}
        text = f"queued: number {job.position + 1:,} of {job.num_queued:,} on queue {queue}"
    return {**place, "crashes": job.crash_count, "text": text}


def text_of_trace(found: Mapping[str, Any]) -> str:
    """Return what `contextvqa trace` shows."""
    images = ", ".join(found["image"] or ())
    head = f"record {found['key']} of run {found['run']}: id {found['id']!r}, {images}"
    lines = [head, f"  {found['place']['text']}"]
    if found["server"]:
        lines.append(f"  its files alone were asked: {found['server']}")
    return in_lines([*lines, *_events(found["events"])])


def _events(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    began = next((_seconds(event["time"]) for event in events if event["time"]), 0.0)
    for event in events:
        elapsed = "" if event["time"] is None else f"{_seconds(event['time']) - began:+.3f} s"
        attempt = "" if event["attempt"] is None else f"attempt {event['attempt']}"
        who = f"by {event['worker']}" if event["worker"] else ""
        told = "; ".join(filter(None, (who, event["note"])))
        line = (
            f"  {_clock(event['time']):23}  {elapsed:>12}  {attempt:10}  {event['event']:{_WIDTH}}"
        )
        yield f"{line}  {told}".rstrip()


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _clock(time: str | None) -> str:
    """Return a UTC time without its zone."""
    return "" if time is None else time.removesuffix("+00:00").replace("T", " ")
