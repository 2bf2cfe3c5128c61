"""Log lines of the daemons, on stderr: events with their numbers."""

import logging


def configure(prefix: str = "") -> None:
    """Send this project's log lines to stderr; leave other libraries' loggers alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
    logger = logging.getLogger("contextvqa")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [handler]
