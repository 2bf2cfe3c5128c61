"""
The harness's own book of what must come out, and its comparison with what did.

It knows the input and nothing of the product's state: every key once in the results or, where the
book expects that, in the rejects; nothing in any queue or registry that is on its way any more.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import redis
from rq.job import JobStatus

from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.queues import GENERATE, REFINE, pending_key, rq_queue
from contextvqa.records import derive_seed, record_key
from contextvqa.storage.run_directory import RunDirectory
from tests.faults.engine import is_poor, scripted_text
from tests.support import read_lines

#: What may stay in Redis when everything has ended and stopped.
REMAINS = (
    *("rq:queues", "rq:job:", "rq:finished:", "rq:failed:", "rq:results:"),
    *("contextvqa:run:", "contextvqa:prompts:"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One record of the input."""

    id: str
    image: str
    colour: tuple[int, int, int]
    prompt: str
    #: The reasons for which it may be rejected; empty: it must be accepted.
    reasons: frozenset[str] = frozenset()
    #: Whether it may be accepted.
    is_good: bool = True

    @property
    def key(self) -> str:
        """As the product derives it."""
        return record_key(self.id, (self.image,), self.prompt)

    @property
    def num_attempts(self) -> int:
        """How often the engine is asked, if each attempt is made once."""
        return next(n for n in count(1) if not is_poor(derive_seed(self.key, n)))

    @property
    def row(self) -> dict[str, Any]:
        """As it stands in the input."""
        conversation = [{"from": "human", "value": self.prompt}]
        return {"id": self.id, "image": self.image, "conversation": conversation}


@dataclass(slots=True)
class Findings:
    """What is wrong, one text per case."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    #: Lines whose text, image, seed or id belongs to another record.
    mixed: list[str] = field(default_factory=list)
    #: Records that ended otherwise than the book says.
    misjudged: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) for item in fields(self))

    def __str__(self) -> str:
        return "\n".join(
            f"{item.name}: {len(cases)}: {cases[:8]}"
            for item in fields(self)
            if (cases := getattr(self, item.name))
        )


class Ledger:
    """The book of one run."""

    def __init__(self, runs_dir: Path, run: str, entries: list[Entry]) -> None:
        self.directory = RunDirectory(runs_dir, run)
        self.entries = {entry.key: entry for entry in entries}
        assert len(self.entries) == len(entries)

    def check(self, connection: redis.Redis, *, redis_forgot: bool = False) -> Findings:
        """
        Compare the book with the files and with Redis, when all processes have stopped.

        Args:
            redis_forgot: Redis lost jobs meanwhile, so that registries cannot be complete.

        """
        findings = Findings()
        results = self._read(self.directory.results_path, findings)
        rejects = self._read(self.directory.rejects_path, findings)
        self._check_fates(results, rejects, findings)
        self._check_redis(connection, findings)
        self._check_jobs(connection, findings)
        if not redis_forgot:
            self._check_registries(connection, rejects, findings)
        return findings

    def count_ended(self) -> int:
        """Return how many records have a line now."""
        findings = Findings()
        results = self._read(self.directory.results_path, findings)
        return len(results | self._read(self.directory.rejects_path, findings))

    def _read(self, path: Path, findings: Findings) -> dict[str, dict[str, Any]]:
        lines: dict[str, dict[str, Any]] = {}
        for line in read_lines(path):
            key = line["meta"]["key"]
            if key in lines:
                findings.doubled.append(f"{key} in {path.name}")
            if key not in self.entries:
                findings.mixed.append(f"{key} in {path.name} is of no input row")
            lines[key] = line
        return lines

    def _check_fates(
        self,
        results: dict[str, dict[str, Any]],
        rejects: dict[str, dict[str, Any]],
        findings: Findings,
    ) -> None:
        for key, entry in self.entries.items():
            if key not in results and key not in rejects:
                findings.lost.append(entry.id)
            if key in results and key in rejects:
                findings.doubled.append(f"{entry.id} in both files")
            if key in results:
                findings.mixed += _mix_ups(entry, results[key])
                if not entry.is_good:
                    findings.misjudged.append(f"{entry.id} was accepted")
            if key in rejects and (reason := rejects[key]["reason"]) not in entry.reasons:
                findings.misjudged.append(f"{entry.id}: {reason}: {rejects[key]['message']}")

    def _check_redis(self, connection: redis.Redis, findings: Findings) -> None:
        for raw in connection.scan_iter(count=10_000):
            key = raw.decode()
            is_dead_worker = key.startswith("rq:worker:") and _died(connection, key)
            if not key.startswith(REMAINS) and not is_dead_worker:
                findings.left_over.append(key)
        if left := connection.scard(pending_key(self.directory.run)):
            findings.left_over.append(f"{left} pending")

    def check_quiet(self, connection: redis.Redis) -> Findings:
        """Check Redis at a moment when nothing runs, though records may still be queued."""
        findings = Findings()
        self._check_jobs(connection, findings)
        return findings

    def _check_jobs(self, connection: redis.Redis, findings: Findings) -> None:
        """Every job is where its status says, once: queued, finished or failed."""
        standing = [place for queue in (GENERATE, REFINE) for place in places(connection, queue)]
        statuses = {
            raw.decode().removeprefix("rq:job:"): connection.hget(raw, "status") or b"none"
            for raw in connection.scan_iter("rq:job:*", count=10_000)
        }
        expected = Counter((status.decode(), job) for job, status in statuses.items())
        for status, job in expected - Counter(standing):
            findings.left_over.append(f"{job} is {status} and not in that place")
        for status, job in Counter(standing) - expected:
            found = statuses.get(job, b"gone").decode()
            findings.left_over.append(f"{job} stands among the {status} and is {found}")

    def _check_registries(
        self, connection: redis.Redis, rejects: dict[str, dict[str, Any]], findings: Findings
    ) -> None:
        """Queued + started + finished + failed is what was enqueued, on both queues."""
        run = self.directory.run
        expected = {
            GENERATE: {job_id(run, key, Kind.GENERATE) for key in self.entries},
            REFINE: {
                job_id(run, key, _kind_of(rejects[key]) if key in rejects else Kind.REFINE)
                for key in self.entries
            },
        }
        for name, jobs in expected.items():
            found = _registered(connection, name)
            if found != jobs:
                text = f"{name}: {len(jobs)} jobs were made, the registries have {len(found)}"
                missing, surplus = sorted(jobs - found)[:2], sorted(found - jobs)[:2]
                findings.left_over.append(f"{text}; missing {missing}, surplus {surplus}")


def _registered(connection: redis.Redis, name: str) -> set[str]:
    queue = rq_queue(name, connection)
    started = connection.zrange(queue.started_job_registry.key, 0, -1)
    return {
        *queue.job_ids,
        *(member.decode() for member in started),
        *queue.finished_job_registry.get_job_ids(cleanup=False),
        *queue.failed_job_registry.get_job_ids(cleanup=False),
    }


def places(connection: redis.Redis, name: str) -> Iterator[tuple[str, str]]:
    """Yield the jobs that stand somewhere, with the status that this place means."""
    queue = rq_queue(name, connection)
    registries = {
        JobStatus.STARTED: queue.started_job_registry,
        JobStatus.FINISHED: queue.finished_job_registry,
        JobStatus.FAILED: queue.failed_job_registry,
        JobStatus.DEFERRED: queue.deferred_job_registry,
    }
    yield from ((JobStatus.QUEUED.value, job) for job in queue.job_ids)
    for status, registry in registries.items():
        for member in connection.zrange(registry.key, 0, -1):
            yield status.value, member.decode().partition(":")[0]


def _kind_of(reject: dict[str, Any]) -> Kind:
    """A rejection by the generate stage travels in a job of its own kind."""
    return Kind.REJECT if reject["stage"] == GENERATE else Kind.REFINE


def _mix_ups(entry: Entry, line: dict[str, Any]) -> list[str]:
    meta = line["meta"]
    attempts = [*meta.get("earlier", ()), {**meta, "text": line["vqa"]}]
    seeds = [derive_seed(entry.key, attempt["attempt"]) for attempt in attempts]
    texts = [scripted_text(entry.colour, entry.prompt, seed) for seed in seeds]
    expected = (entry.id, [entry.image], list(zip(texts, seeds, strict=True)))
    found = (line["id"], line["image"], [(tried["text"], tried["seed"]) for tried in attempts])
    if not all(map(is_poor, seeds[:-1])):
        return [f"{entry.id}: was generated again after an attempt that was good"]
    return [] if found == expected else [f"{entry.id}: {found!r}, not {expected!r}"]


def _died(connection: redis.Redis, key: str) -> bool:
    """Rq keeps the hash of a worker that said goodbye for a minute."""
    return connection.type(key) == b"hash" and bool(connection.hexists(key, "death"))


def write_input(path: Path, entries: list[Entry]) -> None:
    """Write the input that the real producer reads."""
    path.write_bytes(
        b"".join(orjson.dumps(entry.row, option=orjson.OPT_APPEND_NEWLINE) for entry in entries)
    )
