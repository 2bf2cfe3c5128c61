"""Where a command's log lines go, and in which form."""

import logging
import sys
import threading
from logging.config import dictConfig
from pathlib import Path
from types import TracebackType

import orjson

from contextvqa.logs import context, relay
from contextvqa.logs.lines import TextFormatter
from contextvqa.settings import Logs

log = logging.getLogger("contextvqa")

#: Which loggers say what as JSON, in this process and in those of an engine.
JSON_CONFIG = Path(__file__).with_name("logging.json")


def configure_daemon(logs: Logs) -> None:
    """
    Send what a daemon says to stderr.

    As text, these are this project's own lines; as JSON all that it and the processes it starts log
    or print. Call it before there are threads.
    """
    if logs.is_json:
        _configure_json({}, takes_stdout=True)
        return
    log.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter())
    log.propagate = False
    log.handlers[:] = [handler]


def configure_command(logs: Logs, **fields: str) -> None:
    """
    Make JSON of all that a command says on stderr, if that is asked for; its stdout is data.

    Args:
        fields: What all of its lines are about.

    """
    if logs.is_json:
        _configure_json(fields, takes_stdout=False)


def _configure_json(fields: context.Fields, *, takes_stdout: bool) -> None:
    relay.start(fields, takes_stdout=takes_stdout)
    context.note(**fields)
    dictConfig(orjson.loads(JSON_CONFIG.read_bytes()))
    # As one line each, where Python would print many.
    sys.excepthook = _log_bug
    threading.excepthook = _log_bug_of_thread


def _log_bug(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    log.critical("ended by a bug: %s", error, exc_info=(kind, error, traceback))


def _log_bug_of_thread(bug: threading.ExceptHookArgs) -> None:
    name = bug.thread.name if bug.thread else "?"
    log.critical("a bug ended the thread %s: %s", name, bug.exc_value, exc_info=bug.exc_value)
