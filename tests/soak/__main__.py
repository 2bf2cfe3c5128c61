"""
`python -m tests.soak`, or `make soak`: the deployment at full rate while its containers are killed.

A producer keeps the queue full, containers are killed at random moments, and the memory of every
process is noted. In the end every record must have its one line, and no memory may have grown.
"""

from shutil import rmtree
from uuid import uuid4

import click

from contextvqa.progress import say
from tests.compose.building import built_deployment
from tests.soak.record import write
from tests.soak.report import OUTPUT, report
from tests.soak.soak import soak


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="From the first line on.")
@click.option("--seed", default="", help="Of an earlier soak, for the same kills again.")
def command(*, minutes: float, seed: str) -> None:
    """Let a deployment work for a while, kill its containers, and say what became of it."""
    seed = seed or uuid4().hex[:8]
    rmtree(OUTPUT, ignore_errors=True)
    say(f"soak: {minutes:g} minutes, seed {seed}, into {OUTPUT}")
    choices = {"CONTEXTVQA_TAG": "soak"}
    with built_deployment(OUTPUT / "contextvqa-soak", choices) as deployment:
        write(soak(deployment, minutes * 60, seed, OUTPUT), OUTPUT)
    raise SystemExit(not report(OUTPUT))


if __name__ == "__main__":
    command()
