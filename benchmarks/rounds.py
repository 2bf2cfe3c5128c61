"""Measure contenders in turns: A B C A B C, so that what else the machine does hits all alike."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Contender, Samples
from contextvqa.errors import UnavailableError, one_line
from contextvqa.progress import say


def measure_all(contenders: Sequence[Contender], num_rounds: int, directory: Path) -> list[Samples]:
    """
    Measure every contender once per round, up to its limit; one that cannot run says so in a line and is left out.

    Args:
        directory: Where each repetition gets a directory, removed after it. Those of failures stay.

    """
    shutil.rmtree(directory, ignore_errors=True)
    samples = [Samples(contender, []) for contender in contenders]
    for item in samples:
        _prepare(item)
    for number in range(1, num_rounds + 1):
        for item in samples:
            limit = item.contender.max_rounds
            if item.failure is None and (limit is None or number <= limit):
                say(f"round {number} of {num_rounds}: {item.contender.name}")
                _measure(item, directory / f"{item.contender.name}-{number}".replace(" ", "-"))
    return samples


def _prepare(item: Samples) -> None:
    try:
        item.contender.prepare()
    except UnavailableError as error:
        _leave_out(item, error)


def _measure(item: Samples, directory: Path) -> None:
    directory.mkdir(parents=True)
    try:
        item.values.append(item.contender.measure(directory))
    except UnavailableError as error:
        _leave_out(item, error)
    else:
        shutil.rmtree(directory)


def _leave_out(item: Samples, error: UnavailableError) -> None:
    item.failure = one_line(error)
    say(f"left out: {item.contender.name}: {item.failure}")
