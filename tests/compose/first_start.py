"""
`python -m tests.compose.first_start`: a deployment from nothing to its first result, step by step.

What Docker and `build/compose` keep of an earlier build is not made again: `docker system prune -a`
and `rm -r build/compose` for all of it. Markdown on stdout, as docs/deployment.md has it.
"""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from benchmarks.machine import Machine
from contextvqa.progress import say
from tests.compose import stand_ins
from tests.compose.building import built_deployment
from tests.compose.docker import Deployment, checked, compose_command, run, running_docker
from tests.support import wait_until

RUN = "first"
#: Seconds that a step may take at most.
STEP_S = 900.0
#: Services, in the order in which `up` starts them.
SERVICES = ("check", "redis", "check-refiner", "refiner", "check-worker-cpu", "worker-cpu")
IMAGES = ("contextvqa-redis", "contextvqa", "contextvqa-worker-cpu")

Steps = Iterator[tuple[str, float]]


@click.command()
def command() -> None:
    """Build and start a deployment with the flags model, and say what each step took."""
    with tempfile.TemporaryDirectory() as place, running_docker(Path(place)):
        rows = list(_steps(Path(place)))
        sizes = [(image, _size_mb(image)) for image in IMAGES]
        docker = checked("docker", "version", "--format", "Docker {{.Server.Version}}").strip()
    compose = checked(*compose_command(), "version").splitlines()[0]
    say(f"{Machine.here()}; {docker}; {compose}")
    click.echo("| step | seconds |\n| --- | ---: |")
    for step, seconds in rows:
        click.echo(f"| {step} | {seconds:.1f} |")
    click.echo("\n| image | MB |\n| --- | ---: |")
    for image, size_mb in sizes:
        click.echo(f"| `{image}` | {size_mb:,.0f} |")


def _steps(place: Path) -> Steps:
    began = time.monotonic()
    say("making the base image, fetching packages")
    stand_ins.prepare()
    yield "base image and packages", time.monotonic() - began
    began = time.monotonic()
    say("building the images")
    with built_deployment(place / "contextvqa-first") as deployment:
        yield "images", time.monotonic() - began
        yield from _start(deployment)


def _start(deployment: Deployment) -> Steps:
    """Yield when each service was started, in seconds from `up`, and when the first result came."""
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        up = pool.submit(deployment.do, "up", "-d")
        for service in SERVICES:
            wait_until(lambda service=service: up.done() or deployment.started(service), STEP_S)
            if up.done():
                up.result()
            yield f"from `up`: {service} is started", time.monotonic() - began
        up.result()
    yield "`up -d` returns", time.monotonic() - began
    deployment.cli("enqueue", "/data/sample_data.json", "--run", RUN)
    yield "`enqueue` returns", time.monotonic() - began
    (worker,) = deployment.containers("worker-cpu")
    for words, step in (("loaded: model", "the engine is loaded"), ("ready:", "the worker claims")):
        wait_until(lambda words=words: words in run("docker", "logs", worker).stderr, STEP_S)
        yield step, time.monotonic() - began
    wait_until(lambda: deployment.num_results(RUN), STEP_S)
    yield "the first result", time.monotonic() - began
    deployment.cli("wait", RUN, "--timeout-s", STEP_S)
    yield "all 48 records", time.monotonic() - began


def _size_mb(image: str) -> float:
    return int(checked("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6


if __name__ == "__main__":
    command()
