"""What a line of results.jsonl or rejects.jsonl tells of its record: every attempt that there was."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from contextvqa.errors import Reason
from contextvqa.gates import code_of
from contextvqa.records import (
    Attempt,
    ContextVQA,
    ImageRecord,
    LaterAttempt,
    derive_seed,
    from_payload,
    record_of_line,
)
from contextvqa.run_config import RunConfig

#: A line, decoded.
RunLine = Mapping[str, Any]

_FIELDS = tuple(item.name for item in fields(Attempt))
#: Those that also the oldest lines should have.
_OLD_FIELDS = tuple(item.name for item in fields(Attempt) if item.default is MISSING)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ResultLine:
    """What a results line has, however old."""

    context_vqa: ContextVQA
    vqa: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _RejectLine:
    """What a rejects line has, however old."""

    stage: str
    reason: Reason
    message: str
    attempts: int
    vqa: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A line read back."""

    #: The row; its `attempt` is the one that the line is of.
    record: ImageRecord
    #: The attempts whose texts are there, with their numbers, oldest first.
    written: tuple[tuple[int, Attempt], ...]
    #: The last attempt, where it failed before the model wrote.
    failed: LaterAttempt | None
    #: Attempts whose texts the line does not have: an older version did not keep them.
    num_lost: int
    #: Texts of which the line does not say all: an older version did not.
    num_partial: int


def read_line(line: RunLine, origin: RunConfig) -> Recorded:
    """
    Read a line of a run back.

    What a line of an older version does not say of a text is taken from its run: model, seed, and
    for the time that of its begin. Tokens and seconds are 0 then, the worker "".

    Raises:
        RejectError, KeyError, TypeError, AttributeError: It is no line of this pipeline.

    """
    is_result = "context_vqa" in line
    from_payload(line, _ResultLine if is_result else _RejectLine)
    meta = line["meta"]
    number = meta["attempt"] if is_result else line["attempts"]
    own = {**line, **meta, "attempt": number, "text": line["vqa"]}
    later = [{**told, **(told["written"] or {})} for told in meta.get("later", ())]
    attempts = [*meta.get("earlier", ()), own, *later]
    written = [told for told in attempts if told.get("text") is not None]
    has_failed = written[-1:] != attempts[-1:]
    unknown = {
        "finish_reason": _finish_reason(line),
        "prompt_tokens": 0,
        "output_tokens": 0,
        "model": origin.model,
        "worker": "",
        "generated_at": origin.created_at,
        "image_s": 0.0,
        "engine_s": 0.0,
    }
    return Recorded(
        record=record_of_line(line, run=origin.run, attempt=number),
        written=tuple((told["attempt"], _attempt(told, meta["key"], unknown)) for told in written),
        failed=from_payload(attempts[-1] | {"written": None}, LaterAttempt) if has_failed else None,
        num_lost=len(attempts) - len(written) - has_failed,
        num_partial=sum(not all(name in told for name in _OLD_FIELDS) for told in written),
    )


def _attempt(told: Mapping[str, Any], key: str, unknown: Mapping[str, Any]) -> Attempt:
    known = {name: told[name] for name in _FIELDS if name in told}
    seed = derive_seed(key, told["attempt"])
    return from_payload({"seed": seed, **unknown, **known}, Attempt)


def _finish_reason(line: RunLine) -> str:
    """Return how a text ended of which the line says so by what was found alone."""
    is_cut = line.get("reason") == Reason.PARSE_TRUNCATED
    return "length" if is_cut or code_of("truncated") in line["meta"].get("checks", ()) else "stop"
