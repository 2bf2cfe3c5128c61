"""What the records of a run share, as Redis holds it: configuration and prompts, stored once."""

import time
from collections.abc import Iterable
from typing import Any, cast

import redis
from redis.client import Pipeline

from contextvqa.errors import RejectError, RunError, TransientError, UsageError
from contextvqa.queueing.job_hash import text_of
from contextvqa.queueing.queues import pending_key, prompts_key, run_key
from contextvqa.queueing.transactions import RedisCommand, ask, transact
from contextvqa.records import ImageRecord, prompt_digest
from contextvqa.run_config import RunConfig

#: Distinct prompts that one enqueue stores once. Further ones travel in their jobs, so that a run
#: whose rows all have their own prompt leaves no more in Redis than its queue holds.
MAX_STORED_PROMPTS = 1_000
#: Seconds until a configuration is read again: a run may be deleted and begun anew by its name.
CONFIG_TTL_S = 10.0


class Runs:
    """Reads and writes runs in Redis, and remembers what cannot change."""

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self._configs: dict[str, tuple[float, RunConfig | None]] = {}
        self._prompts: dict[tuple[str, str], str] = {}

    def store(self, config: RunConfig) -> None:
        """
        Write a run's configuration; again after Redis lost it.

        Raises:
            UsageError: Records of another run of this name are on their way here.

        """
        key, pending = run_key(config.run), pending_key(config.run)

        def write(pipeline: Pipeline, replies: list[Any]) -> None:
            data, num_pending = replies
            other = _decoded(data, config.run) if data is not None and num_pending else config
            if other is not None and other.uid != config.uid:
                raise UsageError(
                    f"another run {config.run!r}, begun at {other.created_at}, is on its way on "
                    "this Redis server; choose another --run name, or its --runs-dir."
                )
            pipeline.hset(key, "config", config.encode())

        reads: list[RedisCommand] = [("HGET", key, "config"), ("SCARD", pending)]
        transact(self.connection, [key, pending], reads, write)

    def store_prompt(self, run: str, prompt: str) -> tuple[str, str | None]:
        """
        Store a prompt unless the run has too many.

        Returns:
            Its digest, and the prompt itself where it has to travel in the job.

        """
        digest = prompt_digest(prompt)
        if (run, digest) not in self._prompts:
            if len(self._prompts) >= MAX_STORED_PROMPTS:
                return digest, prompt
            self.connection.hset(prompts_key(run), digest, _encode(prompt))
            self._prompts[run, digest] = prompt
        return digest, None

    def restore(self, config: RunConfig, records: Iterable[ImageRecord]) -> None:
        """Write again what Redis lost since we wrote it: jobs of these would find no prompt."""
        stored = (record for record in records if record.prompt is None)
        digests = list({record.prompt_digest for record in stored})
        has_config, *are_there = ask(
            self.connection,
            [
                ("EXISTS", run_key(config.run)),
                *(("HEXISTS", prompts_key(config.run), digest) for digest in digests),
            ],
        )
        if not has_config:
            self.store(config)
        lost = [digest for digest, is_there in zip(digests, are_there, strict=True) if not is_there]
        if lost:
            prompts: dict[Any, Any] = {
                digest: _encode(self._prompts[config.run, digest]) for digest in lost
            }
            self.connection.hset(prompts_key(config.run), mapping=prompts)

    def what_is_lost(self, record: ImageRecord) -> str | None:
        """Say what of a record's run Redis has not (any more); None where it has all of it."""
        has_config, has_prompt = ask(
            self.connection,
            [
                ("EXISTS", run_key(record.run)),
                ("HEXISTS", prompts_key(record.run), record.prompt_digest),
            ],
        )
        if not has_config:
            return f"Redis has no configuration of run {record.run!r}; enqueue it again"
        if record.prompt is None and not has_prompt:
            return f"Redis has no prompt {record.prompt_digest}; enqueue it again"
        return None

    def prompt_of(self, record: ImageRecord) -> tuple[RunConfig, str]:
        """
        Return the configuration of a record's run, and the record's prompt.

        Raises:
            TransientError: Redis does not have them (any more): `enqueue` writes them again.
            RunError: What it has is no configuration of this run.
            redis.RedisError: Redis does not answer, which tells nothing of the record.

        """
        found = self.remembered(record)
        if found is None:
            found = self._read_config(record.run), record.prompt or self._read_prompt(record)
        return found

    def remembered(self, record: ImageRecord) -> tuple[RunConfig, str] | None:
        """Return the same where Redis need not be asked: at once, from any thread."""
        read_at, config = self._configs.get(record.run, (-CONFIG_TTL_S, None))
        prompt = record.prompt or self._prompts.get((record.run, record.prompt_digest))
        if config is None or prompt is None or time.monotonic() - read_at > CONFIG_TTL_S:
            return None
        return config, prompt

    def num_pending(self, run: str) -> int:
        """Return how many of the run's records are on their way."""
        return self.connection.scard(pending_key(run))

    def pending_keys(self, run: str) -> list[str]:
        """Return the keys of the run's records that are on their way."""
        return [text_of(member) for member in self.connection.smembers(pending_key(run))]

    def _field(self, key: str, name: str) -> bytes | None:
        # Typed as text or bytes by redis-py; our connections never decode.
        return cast("bytes | None", self.connection.hget(key, name))

    def _read_config(self, run: str) -> RunConfig:
        data = self._field(run_key(run), "config")
        if data is None:
            raise TransientError(f"Redis has no configuration of run {run!r}; enqueue it again")
        config = _decoded(data, run)
        if config is None:
            raise RunError(
                f"what Redis holds in {run_key(run)} is no configuration of run {run!r} of this "
                "version; enqueue the run's input again, which writes it"
            )
        self._configs[run] = time.monotonic(), config
        return config

    def _read_prompt(self, record: ImageRecord) -> str:
        place = (record.run, record.prompt_digest)
        if place not in self._prompts:
            data = self._field(prompts_key(record.run), record.prompt_digest)
            prompt = None if data is None else _text_of_digest(data, record.prompt_digest)
            if prompt is None:
                raise TransientError(
                    f"Redis has no prompt {record.prompt_digest}; enqueue it again"
                )
            self._prompts[place] = prompt
        return self._prompts[place]


def _decoded(data: bytes, run: str) -> RunConfig | None:
    """Return the configuration of a run; None where somebody wrote something else there."""
    try:
        config = RunConfig.decode(data)
    except (ValueError, RejectError):
        return None
    return config if config.run == run else None


def _text_of_digest(data: bytes, digest: str) -> str | None:
    """Return a stored prompt; None where it is another one than its digest names."""
    try:
        prompt = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return prompt if prompt_digest(prompt) == digest else None


def _encode(prompt: str) -> bytes:
    """Return a prompt as Redis holds it; lone surrogates survive."""
    return prompt.encode("utf-8", "surrogatepass")
