"""
What a log line is about, so that no call has to say it: the process, and the record at hand.

What concerns a record stands in a context variable, which asyncio gives to each task and takes along
to its threads; what concerns the whole process is noted once, and in its environment, where the
processes that it starts find it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import orjson

#: Hands the fields of a process to those that it starts: JSON.
VARIABLE = "CONTEXTVQA_LOG_FIELDS"

Fields = Mapping[str, str]

_of_process: dict[str, str] = {}
_of_record: ContextVar[Fields] = ContextVar("record")


def note(**fields: str) -> None:
    """Let all further lines of this process, and of those that it starts, carry these fields."""
    _of_process.update(fields)
    os.environ[VARIABLE] = orjson.dumps(_of_process).decode()


def inherit() -> None:
    """Carry what the process that started this one has noted."""
    _of_process.update(orjson.loads(os.environ.get(VARIABLE, "{}")))


def enter(fields: Fields) -> None:
    """Let all further lines of this task or context carry these fields."""
    _of_record.set(fields)


@contextmanager
def about(fields: Fields) -> Iterator[None]:
    """Let the lines within carry these fields."""
    token = _of_record.set(fields)
    try:
        yield
    finally:
        _of_record.reset(token)


def current() -> dict[str, str]:
    """Return the fields of a line that is logged now."""
    return {**_of_process, **_of_record.get({})}
