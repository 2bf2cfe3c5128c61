"""`contextvqa trace`: what happened to one record, and where it is now."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import orjson
import redis

from contextvqa.errors import UnavailableError, UsageError
from contextvqa.options import takes
from contextvqa.processes.server_socket import url_of_run
from contextvqa.progress import ReadProgress
from contextvqa.queueing.connection import connect
from contextvqa.queueing.jobs import record_in
from contextvqa.queueing.pauses import pause_of
from contextvqa.queueing.roles import Role
from contextvqa.records import RecordId
from contextvqa.settings import Store
from contextvqa.storage.line_search import RunLine, lines_of_id, lines_of_key
from contextvqa.storage.rejects import KEY
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching import live_jobs
from contextvqa.watching.live_jobs import RecordInRedis
from contextvqa.watching.trace_text import place_of, text_of_trace
from contextvqa.watching.trail import events_of

#: Keys that are named where an id is that of several records.
MAX_KEYS = 5


@click.command()
@click.argument("name")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@takes(Store)
def command(*, name: str, key: str, as_json: bool, store: Store) -> None:
    """
    Show what happened to a record of run NAME, and where it is now.

    KEY is its key, as in `meta.key` of its line, or the id that it has in the input, if no other
    record has the same: ids may repeat, keys never do. Reads the files of the run to their ends.
    """
    directory = RunDirectory(store.runs_dir, name)
    directory.check_exists()
    tracer = Tracer(directory, _connect(store, directory))
    found = tracer.trace(key)
    click.echo(orjson.dumps(found) if as_json else text_of_trace(found))


@dataclass(frozen=True, slots=True)
class Server:
    """The run's server, or why it cannot be asked."""

    connection: redis.Redis | None
    error: UnavailableError | None = None


def _connect(store: Store, directory: RunDirectory) -> Server:
    """Connect to the run's server; a record that has ended needs none."""
    try:
        return Server(connect(url_of_run(store.server_url, directory.redis_path, Role.WATCHER)))
    except UnavailableError as error:
        return Server(None, error)


class Tracer:
    """Finds what is known of the records of one run."""

    def __init__(self, directory: RunDirectory, server: Server) -> None:
        self._directory = directory
        self._server = server
        self._run = directory.run

    def trace(self, name: str) -> dict[str, Any]:
        """
        Return what is known of the record of a key or an id.

        Raises:
            UsageError: There is none, or there are several of that id.
            UnavailableError: There is none in the files, and the server cannot be asked.

        """
        if KEY.fullmatch(name) and (found := self._trace_key(name)):
            return found
        keys = self._keys_of_id(name)
        if len(keys) > 1:
            named = ", ".join(keys[:MAX_KEYS]) + (", …" if len(keys) > MAX_KEYS else "")
            raise UsageError(
                f"{len(keys)} records of run {self._run!r} have the id {name}; name one by its key: "
                f"{named}."
            )
        found = self._trace_key(keys[0]) if keys else None
        if found is None:
            raise self._unknown(name)
        return found

    def _trace_key(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a key; None where nothing is."""
        # Redis first: a job is settled after its line, so that no record is in neither.
        in_redis = RecordInRedis(is_pending=False)
        paused = None
        if self._server.connection is not None:
            in_redis = live_jobs.look(self._server.connection, self._run, key)
            paused = pause_of(self._server.connection, self._run)
        results_path, rejects_path = self._paths()
        with ReadProgress(f"looking for {key}") as progress:
            results = list(lines_of_key(results_path, key, progress.show))
            rejects = list(lines_of_key(rejects_path, key, progress.show))
        if not (results or rejects or in_redis.jobs or in_redis.is_pending):
            return None
        return {
            "run": self._run,
            "key": key,
            **_row([*results, *rejects], in_redis),
            "place": place_of(results, rejects, in_redis, paused),
            "server": None if self._server.error is None else str(self._server.error),
            "events": [event.to_json() for event in events_of(results, rejects, in_redis.jobs)],
        }

    def _keys_of_id(self, name: str) -> list[str]:
        """Return the keys of all records that have an id, read as text or as a number."""
        keys: dict[str, None] = {}
        ids: list[RecordId] = [name, int(name)] if name.isdecimal() else [name]
        for record_id in ids:
            keys |= dict.fromkeys(self._find_keys(record_id))
        return list(keys)

    def _find_keys(self, record_id: RecordId) -> Iterator[str]:
        if self._server.connection is not None:
            yield from live_jobs.keys_of_id(self._server.connection, self._run, record_id)
        for path in self._paths():
            with ReadProgress(f"looking for id {record_id}") as progress:
                for line in lines_of_id(path, record_id, progress.show):
                    yield line["meta"]["key"]

    def _paths(self) -> tuple[Any, Any]:
        return self._directory.results_path, self._directory.rejects_path

    def _unknown(self, name: str) -> Exception:
        """Return how the search for what is nowhere ends."""
        message = (
            f"run {self._run!r} has neither a line nor a job of a record with key or id {name!r}"
        )
        if self._server.error is not None:
            return UnavailableError(f"{message} in its files; of its jobs: {self._server.error}")
        return UsageError(
            f"{message}; `contextvqa audit {self._run} --input INPUT` says which rows of an input "
            "are missing."
        )


def _row(lines: list[RunLine], in_redis: RecordInRedis) -> dict[str, Any]:
    """Return the id and the images of the record, from whatever tells of it."""
    for line in lines:
        return {"id": line["id"], "image": line.get("image")}
    for job in in_redis.jobs:
        if job.content is not None:
            record = record_in(job.content)
            return {"id": record.id, "image": record.image}
    return {"id": None, "image": None}
