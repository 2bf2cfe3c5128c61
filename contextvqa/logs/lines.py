"""
One log line, as text or as JSON.

    {"time": "2026-11-27T09:12:01.345+00:00", "level": "WARNING", "logger": "contextvqa",
     "message": "retry 1 in 2.1 s: …", "host": "gpu-1", "pid": 4711, "worker": "generate-gpu-1-…",
     "stage": "generate", "run": "first", "key": "f3cc2b69…"}
"""

import logging
import os
import socket
from datetime import UTC, datetime
from typing import Any

import orjson

from contextvqa.errors import in_lines, visible
from contextvqa.logs import context
from contextvqa.redis_url import without_passwords

#: Characters of one field: enough for the traceback of an engine.
MAX_CHARS = 16_000

STDERR = 2


class TextFormatter(logging.Formatter):
    """Lines for people: time, level, the place of a process that has one, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(place)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return a line; several with a traceback."""
        place = context.current().get("place")
        record.__dict__["place"] = f"[{place}] " if place else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Keep an event on its line: a text from a job must neither forge one nor steer a terminal."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the lines of a traceback, which are below."""
        return in_lines(super().formatException(ei).split("\n"))


class JsonFormatter(logging.Formatter):
    """Lines for machines: one JSON object each, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        fields = {"message": record.getMessage(), **context.current()}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return to_json(
            fields,
            time_s=record.created,
            level=record.levelname,
            logger=record.name,
            pid=record.process or os.getpid(),
        )


class JsonHandler(logging.Handler):
    """
    Writes JSON lines to standard error, each in one call of the system.

    Not through `sys.stderr`, which libraries replace, and where others may have begun a line. All
    loggers get this handler by `logging.json`, those in the processes of an engine too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        context.inherit()
        logging.captureWarnings(True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a reader that has gone is no reason to fail."""
        try:
            os.write(STDERR, self.format(record).encode() + b"\n")
        except OSError:
            pass
        except Exception:  # noqa: BLE001 - as all handlers: a wrong log call ends nothing
            self.handleError(record)


def to_json(fields: context.Fields, *, time_s: float, level: str, logger: str, pid: int) -> str:
    """Return a line without its end; what is too long is cut, passwords of URLs are left out."""
    time = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
    line: dict[str, object] = {"time": time, "level": level, "logger": logger}
    line |= {name: _clean(value) for name, value in fields.items()}
    line |= {"host": socket.gethostname(), "pid": pid}
    return orjson.dumps(line).decode()


def message_of(line: str) -> str:
    """Return what a line says: the message of a JSON line, any other line whole."""
    if not line.startswith("{"):
        return line
    try:
        return str(orjson.loads(line)["message"])
    except (orjson.JSONDecodeError, KeyError):
        return line


def _clean(text: str) -> str:
    """Return what may stand in a line; its end where it is cut, as an error's cause stands there."""
    # Half an emoji or a path's odd bytes are none that JSON could carry.
    text = without_passwords(text.encode("utf-8", "replace").decode()).rstrip()
    return text if len(text) <= MAX_CHARS else "…" + text[-MAX_CHARS:]
