"""`contextvqa doctor`: is everything in place."""

import signal
from importlib import import_module
from typing import get_args

import click

from contextvqa.doctor.asked import Asked, Role
from contextvqa.doctor.checks import examine
from contextvqa.doctor.report import show
from contextvqa.errors import UnavailableError, one_line
from contextvqa.findings import Verdict
from contextvqa.logs.setup import configure_command
from contextvqa.options import takes
from contextvqa.settings import (
    Daemon,
    Devices,
    Engine,
    Guards,
    Images,
    Logs,
    Metrics,
    Model,
    Sampling,
    Store,
)


@click.command()
@click.option(
    "--role",
    type=click.Choice(get_args(Role)),
    help="What this host is for. Default: anything it can; then no engine is no failure.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, on stdout.")
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds that a check may take.",
)
@takes(Store, Model, Sampling, Engine, Devices, Images, Guards, Daemon, Metrics, Logs)
def command(  # noqa: PLR0913 - one parameter per group of options
    *,
    role: Role | None,
    as_json: bool,
    timeout_s: float,
    store: Store,
    model: Model,
    sampling: Sampling,
    engine: Engine,
    devices: Devices,
    images: Images,
    # Nothing is to be seen of these but that they can be.
    guards: Guards,  # noqa: ARG001
    daemon: Daemon,  # noqa: ARG001
    metrics: Metrics,  # noqa: ARG001
    logs: Logs,
) -> None:
    """
    Look whether everything that a run needs is in place, with the settings it would get.

    Leaves nothing behind and loads no engine. Exit code 3 where a check fails; warnings are none.
    """
    configure_command(logs)
    # So that what is tried out is cleared away, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = Asked(
        role=role,
        store=store,
        model=model,
        sampling=sampling,
        engine=engine,
        devices=devices,
        images=images,
        prompt=import_module("producer.prompt").DEFAULT_PROMPT,
        timeout_s=timeout_s,
    )
    findings = list(examine(asked))
    show(findings, as_json=as_json)
    failures = [finding for finding in findings if finding.verdict is Verdict.FAILURE]
    if failures:
        first = one_line(f"{failures[0].check}: {failures[0]}")
        raise UnavailableError(
            f"{len(failures)} of {len(findings)} checks failed; mend what they name. {first}."
        )
