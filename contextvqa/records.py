"""
The types on the wire, one per step: ImageRecord -> Generation -> Result, or Rejection.

They travel through Redis and land in the run directory as JSON. Every payload names its `record`,
so that whoever holds one can say which line of which run it belongs to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from hashlib import blake2b
from threading import Lock
from typing import Annotated, Any, TypeVar

import msgspec
import orjson

from contextvqa.errors import Reason, RejectError

RecordId = int | str
Payload = Mapping[str, Any]
#: What the gates found; docs/quality.md describes it.
Checks = Mapping[str, Any]
T = TypeVar("T")

_preparing = Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What the model wrote at one attempt, and how."""

    text: str
    #: As vLLM says it: "stop", or "length" when max_tokens cut the text.
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    seed: int
    model: str
    worker: str
    #: ISO 8601, UTC: the last token.
    generated_at: str
    #: From claim to prepared images, in seconds.
    image_s: float
    #: From request to last token, in seconds.
    engine_s: float
    #: From enqueueing to claim, in seconds, earlier tries included; by two hosts' clocks. None in
    #: lines of older versions.
    queue_s: float | None = None
    #: Times that a worker died with it in flight.
    crashes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierAttempt(Attempt):
    """An attempt that was not good enough, so that there is a later one."""

    #: Which one it was; counts from 1.
    attempt: int
    #: What was wrong with it.
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One execution of a record's job that left no text to tell of it: who had it, and when."""

    worker: str
    #: ISO 8601, UTC.
    claimed_at: str
    ended_at: str
    #: As of an `Attempt`.
    queue_s: float | None
    crashes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LaterAttempt:
    """An attempt after the one that won, as its record's line keeps it."""

    #: Which one it was; counts from 1.
    attempt: int
    #: The queue whose stage ended it, and what was wrong with it.
    stage: str
    reason: Reason
    message: str
    #: None where the worker failed before the model wrote.
    written: Attempt | None = None
    #: The execution that failed, where one did.
    failed: Visit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """One input row on its way to the model."""

    run: str
    #: Digest of the row's content, see `record_key`.
    key: str
    #: The row's own id, else its 1-based row number.
    id: RecordId
    #: Image references as given in the row, at least one.
    image: tuple[str, ...]
    #: Names the prompt in the run's prompts, see `prompt_digest`. Part of a file's name.
    prompt_digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    #: The prompt itself, for a run with more prompts than it stores once.
    prompt: str | None = None
    #: Counts from 1. Another attempt samples with another seed.
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1
    #: The attempts that this one follows without a line in between, in their order.
    earlier: tuple[EarlierAttempt, ...] = ()

    def earlier_generations(self) -> "list[Generation]":
        """Return the earlier attempts as the generations that they were."""
        return [
            Generation.of(
                replace(self, attempt=attempt.attempt, earlier=self.earlier[:number]), attempt
            )
            for number, attempt in enumerate(self.earlier)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation(Attempt):
    """What the model wrote for one record."""

    record: ImageRecord

    @classmethod
    def of(cls, record: ImageRecord, attempt: Attempt) -> "Generation":
        """Return an attempt as that of a record."""
        return cls(record=record, **_fields(attempt))

    @property
    def written(self) -> Attempt:
        """The attempt alone, without its record."""
        return Attempt(**_fields(self))

    def next_record(self, reason: Reason) -> ImageRecord:
        """Return the record as it is generated once more, because of what is wrong with this."""
        record = self.record
        earlier = EarlierAttempt(attempt=record.attempt, reason=reason, **_fields(self))
        return replace(record, attempt=record.attempt + 1, earlier=(*record.earlier, earlier))


def _fields(attempt: Attempt) -> dict[str, Any]:
    return {item.name: getattr(attempt, item.name) for item in fields(Attempt)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Why a record ended without a result."""

    record: ImageRecord
    #: The queue whose stage gave up: "generate" or "refine".
    stage: str
    reason: Reason
    message: str
    #: What the model wrote, where it wrote.
    written: Attempt | None = None
    #: Of one that the refiner makes. None is on the wire: a job must not bring lines to the files
    #: that their readers cannot read.
    checks: Annotated[Checks, msgspec.Meta(max_length=0)] = field(default_factory=dict)
    #: The execution that failed, where one did; None where a text was judged.
    failed: Visit | None = None

    def later_attempt(self) -> LaterAttempt:
        """Return it as the line of an earlier attempt keeps it."""
        return LaterAttempt(
            attempt=self.record.attempt,
            stage=self.stage,
            reason=self.reason,
            message=self.message,
            written=self.written,
            failed=self.failed,
        )

    def to_line(self, refined: Visit | None = None) -> bytes:
        """
        Return the line of rejects.jsonl, newline included.

        Args:
            refined: The execution that appends it.

        """
        record = self.record
        return to_line(
            {
                "id": record.id,
                "image": record.image,
                "stage": self.stage,
                "reason": self.reason,
                "message": self.message,
                "attempts": record.attempt,
                "vqa": self.written.text if self.written else None,
                "meta": {
                    **_origin(record),
                    **(_provenance(self.written) if self.written else {}),
                    **({"checks": self.checks} if self.checks else {}),
                    **_attempts("earlier", record.earlier),
                    **_visits(failed=self.failed, refined=refined),
                },
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class QA:
    """One question/answer pair."""

    question: str
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextVQA:
    """The article and its question/answer pairs: what the pipeline exists to make."""

    context: str
    qas: tuple[QA, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One accepted record."""

    generation: Generation
    context_vqa: ContextVQA
    checks: Checks = field(default_factory=dict)
    #: The attempts after this one, none of them better, in their order.
    later: tuple[LaterAttempt, ...] = ()

    def to_line(self, refined: Visit | None = None) -> bytes:
        """
        Return the line of results.jsonl, newline included: the seed's fields, then provenance.

        Args:
            refined: The execution that appends it.

        """
        generation, record = self.generation, self.generation.record
        return to_line(
            {
                "id": record.id,
                "image": record.image,
                "context_vqa": self.context_vqa,
                "vqa": generation.text,
                "meta": {
                    **_origin(record),
                    "attempt": record.attempt,
                    **_provenance(generation),
                    **_attempts("earlier", record.earlier),
                    **_attempts("later", self.later),
                    "checks": self.checks,
                    **_visits(refined=refined),
                },
            }
        )


def _origin(record: ImageRecord) -> dict[str, Any]:
    """Return what a line says of its row."""
    # Redis does not keep a prompt that travels in its job: another attempt finds it here.
    prompt = {} if record.prompt is None else {"prompt": record.prompt}
    row = {"key": record.key, "run": record.run, "prompt_digest": record.prompt_digest}
    return row | prompt


def _provenance(attempt: Attempt) -> dict[str, Any]:
    """Return what a line says of its text."""
    told = _fields(attempt)
    del told["text"]
    return told


def _attempts(name: str, attempts: Sequence[EarlierAttempt | LaterAttempt]) -> dict[str, Any]:
    """Return the other attempts, whole, so that a replay can choose again; nothing without any."""
    return {name: attempts} if attempts else {}


def _visits(**visits: Visit | None) -> dict[str, Any]:
    """Return the executions that there were."""
    return {name: visit for name, visit in visits.items() if visit}


def to_line(value: object) -> bytes:
    """Encode one JSONL line. Lone surrogates, which JSON cannot carry, become U+FFFD."""
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_without_surrogates(value), option=orjson.OPT_APPEND_NEWLINE)


def _without_surrogates(value: object) -> object:
    plain = msgspec.to_builtins(value)
    if isinstance(plain, str):
        return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(plain, dict):
        return {key: _without_surrogates(item) for key, item in plain.items()}
    if isinstance(plain, list | tuple):
        return [_without_surrogates(item) for item in plain]
    return plain


def to_payload(value: Any) -> dict[str, Any]:
    """Return the JSON object that `from_payload` reads back."""
    payload: dict[str, Any] = msgspec.to_builtins(value)
    return payload


def from_payload(payload: Payload, kind: type[T]) -> T:
    """
    Read a payload back as one of the types above.

    Raises:
        RejectError: A field is missing or of another type, as in a job left by an older version.

    """
    _prepare(kind)  # type: ignore[arg-type] # to mypy, some classes cannot be hashed
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise RejectError(
            Reason.MALFORMED, f"payload is not a {kind.__name__} of this version: {error}"
        ) from error


@cache
def _prepare(kind: type) -> None:
    """
    Have msgspec look at a type's fields, on one thread at a time.

    It does so when it first meets the type; another thread that meets it meanwhile finds it half
    done, and ends the process with SIGSEGV (msgspec 0.22).
    """
    with _preparing:
        msgspec.json.Decoder(kind)


def record_of_line(line: Payload, *, run: str, attempt: int) -> ImageRecord:
    """
    Return the record that a line of results.jsonl or rejects.jsonl tells of, as one of *run*.

    Raises:
        RejectError: The line lacks what makes a record.

    """
    meta = line["meta"]
    payload = {
        **{name: line.get(name) for name in ("id", "image")},
        **{name: meta.get(name) for name in ("key", "prompt_digest", "prompt")},
        "run": run,
        "attempt": attempt,
    }
    return from_payload(payload, ImageRecord)


# An input has few prompts, mostly one, and each of its rows asks for the digest.
@lru_cache(maxsize=16)
def prompt_digest(prompt: str) -> str:
    """Return the digest that names a prompt, 16 hex digits."""
    return blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def record_key(explicit_id: RecordId | None, image: tuple[str, ...], prompt: str) -> str:
    """
    Return the digest of a row's content, 32 hex digits.

    Two rows of equal content are one record wherever they stand in the input: an input that grew
    or was reordered finds what is done.
    """
    content = orjson.dumps([explicit_id, image, prompt_digest(prompt)])
    return blake2b(content, digest_size=16).hexdigest()


def derive_seed(key: str, attempt: int) -> int:
    """Return the sampling seed of one attempt: the same on every machine, another per attempt."""
    digest = blake2b(f"{key}/{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
