"""What all records of a run share: model, sampling, gates."""

import re
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from contextvqa import __version__
from contextvqa.errors import Reason, UsageError
from contextvqa.gates import Quality
from contextvqa.records import ImageRecord, from_payload
from contextvqa.settings import Sampling

#: rq's job ids, which begin with the run's name, allow no other characters.
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: What a run is judged by that nobody asked anything else of.
DEFAULT_QUALITY = Quality()


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The run whose texts another run judged anew."""

    run: str
    #: Tells it from another one of its name.
    uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What all records of a run share; stored once, in run.json and in Redis."""

    run: str
    model: str
    sampling: Sampling
    #: A run.json of before there were gates has none: then the default.
    quality: Quality = field(default_factory=Quality)
    #: Tells this run from another one of its name.
    uid: str
    #: ISO 8601, UTC.
    created_at: str
    #: Version of this package that began the run.
    version: str
    #: Every input that was enqueued into the run, in order.
    inputs: tuple[str, ...] = ()
    #: None of a run whose texts were generated for it.
    reparsed_from: Origin | None = None

    @classmethod
    def new(
        cls, run: str, model: str, sampling: Sampling, quality: Quality = DEFAULT_QUALITY
    ) -> "RunConfig":
        """Return the configuration of a run that begins now."""
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(
            run=run,
            model=model,
            sampling=sampling,
            quality=quality,
            uid=uuid4().hex,
            created_at=created_at,
            version=__version__,
        )

    def reparsed(self, run: str, quality: Quality) -> "RunConfig":
        """Return the configuration of a run that begins now with the texts of this one."""
        begun = RunConfig.new(run, self.model, self.sampling, quality)
        return replace(
            self,
            run=run,
            quality=quality,
            uid=begun.uid,
            created_at=begun.created_at,
            version=begun.version,
            reparsed_from=Origin(run=self.run, uid=self.uid),
        )

    def encode(self) -> bytes:
        """Return the JSON of run.json and of Redis."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def decode(cls, data: bytes) -> "RunConfig":
        """
        Read it back.

        Raises:
            ValueError: It is no JSON. RejectError: it is not of this version.

        """
        payload: dict[str, Any] = orjson.loads(data)
        return from_payload(payload, cls)

    def differences(self, asked: "RunConfig") -> str:
        """Say in which settings another configuration differs; "" where it asks for the same."""
        before, after = (
            {"model": config.model, **asdict(config.sampling), **config.quality.describe()}
            for config in (self, asked)
        )
        return ", ".join(
            f"{name} {before[name]!r}, not {after[name]!r}"
            for name in before
            if before[name] != after[name]
        )

    def sampling_of(self, record: ImageRecord) -> Sampling:
        """Return how this attempt is sampled, which may answer to what was wrong with the last."""
        if not record.earlier:
            return self.sampling
        last, sampling = record.earlier[-1], self.sampling
        if last.reason is Reason.GATE_REPETITION:
            other = sampling.temperature_after_loop
            return sampling if other is None else replace(sampling, temperature=other)
        if last.finish_reason == "length":
            more = sampling.max_tokens_after_cut
            return sampling if more is None else replace(sampling, max_tokens=more)
        return sampling

    def allows(self, record: ImageRecord) -> bool:
        """Whether an attempt is left, and would not repeat the one before word for word."""
        if len(record.earlier) >= self.quality.max_attempts:
            return False
        sampling = self.sampling_of(record)
        before = self.sampling_of(replace(record, earlier=record.earlier[:-1]))
        return sampling.temperature > 0 or sampling != before


def check_run_name(run: str) -> str:
    """Return the name, or raise UsageError where it cannot be part of a job id."""
    if not RUN_NAME.fullmatch(run):
        raise UsageError(
            f"run name {run!r} cannot be used: letters, digits, '-' and '_', at most 64, "
            "the first a letter or digit."
        )
    return run
