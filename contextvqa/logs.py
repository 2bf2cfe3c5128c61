"""Log lines of the daemons, on stderr: events with their numbers."""

import logging
from typing import Any

from contextvqa.errors import in_lines, visible


class OneLine(logging.Formatter):
    """Keeps an event on its line: a text from a job must neither forge one nor steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the lines of a traceback, which are below."""
        return in_lines(super().formatException(ei).split("\n"))


def configure(prefix: str = "") -> None:
    """Send this project's log lines to stderr; leave other libraries' loggers alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
    logger = logging.getLogger("contextvqa")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [handler]
