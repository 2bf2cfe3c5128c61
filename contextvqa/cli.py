"""
The command: one table that names its targets and loads only the one asked for.

Targets are strings so that `--help` stays quick, and so that this package imports no stage.
"""

import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

import click

from contextvqa import __version__
from contextvqa.errors import (
    ERROR_PREFIX,
    INTERRUPTED,
    PATH_ERRNOS,
    ContextVQAError,
    SinkError,
    UnavailableError,
    UsageError,
    one_line,
)


class Target(NamedTuple):
    """Where a command lives and what `--help` says of it."""

    path: str
    text: str


COMMANDS = {
    "run": Target("contextvqa.run:command", "Everything on this machine; again: resume."),
    "enqueue": Target("producer.command:command", "Put an input's records into the queue."),
    "worker": Target("worker.command:command", "Own an engine and generate, until stopped."),
    "refiner": Target("refiner.command:command", "Parse generations and append the results."),
    "status": Target(
        "contextvqa.watching.status:command", "Counts, rate, workers, rejects by reason."
    ),
    "trace": Target(
        "contextvqa.watching.trace:command", "One record: what happened, and where it is."
    ),
    "wait": Target("contextvqa.watching.wait:command", "Return when a run is complete."),
    "audit": Target("producer.audit:command", "Prove that no record of a run is lost."),
    "retry": Target("producer.retry:command", "Put chosen rejects of a run into the queue again."),
    "reparse": Target("refiner.reparse:command", "Judge a run's texts anew, into a new run."),
    "pause": Target("contextvqa.pausing:pause_command", "Stop executing a run's records."),
    "resume": Target("contextvqa.pausing:resume_command", "Go on with a paused run."),
    "dashboard": Target(
        "contextvqa.dashboard.command:command", "Queues, workers and jobs in a browser."
    ),
    "acl": Target("contextvqa.acl:command", "Users of a Redis of your own, one per role."),
    "doctor": Target(
        "contextvqa.doctor.command:command", "Whether all that a run needs is in place."
    ),
    "metrics": Target(
        "contextvqa.watching.metrics:command", "Counts of all runs and queues, for Prometheus."
    ),
    "alive": Target(
        "contextvqa.watching.alive:command", "Whether this host's daemon works; for probes."
    ),
    "parse": Target("refiner.parse:command", "The refiner alone: raw texts in, records out."),
}


class _Commands(click.Group):
    """A group that imports a command when it is called, and not for the list of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].path.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; end in peace when whoever reads our output has enough, as `| head` does."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Python's own flush at exit must not fail either.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, target.text) for name, target in COMMANDS.items()])


EPILOG = """\
Exit codes: 0 done, 1 bug, 2 bad usage or input, 3 Redis, model or engine not available,
4 complete with rejects above --max-rejects, 5 incomplete, 130 interrupted.
"""


@click.command(cls=_Commands, epilog=EPILOG, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="contextvqa")
def contextvqa() -> None:
    """Turn images into ContextVQA records. Every setting is also a CONTEXTVQA_* variable."""


def main(argv: list[str] | None = None) -> int:
    """
    Run one command and return its exit code.

    A user's mistake ends as one line on stderr. Only a bug shows a traceback.
    """
    try:
        code = contextvqa.main(args=argv, prog_name="contextvqa", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        explained = _explain(error)
        if explained is None:
            raise
        message, exit_code = explained
        click.echo(ERROR_PREFIX + one_line(message), err=True)
        return exit_code
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> tuple[str, int] | None:
    """Return the message and exit code of what is no bug of ours; None for a bug."""
    if isinstance(error, ContextVQAError):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message() + _hint(error), error.exit_code
    if isinstance(error, OSError):
        # A disk or a mount that fails is nobody's mistake: the same command may work later.
        kind = UsageError if error.errno in PATH_ERRNOS else SinkError
        return str(error), kind.exit_code
    # Looked up and not imported: --help needs no redis.
    redis = sys.modules.get("redis")
    if redis is not None and isinstance(error, redis.RedisError):
        return f"Redis: {error}", UnavailableError.exit_code
    return None


def _hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f" See {context.command_path} --help." if context else ""
