"""Who watches: somebody who asks for metrics all the time, as Prometheus does, and `status --watch`."""

import re
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from benchmarks.lines import read, wait_for_words
from benchmarks.processes import Program, python_command
from contextvqa.errors import UnavailableError

#: Seconds between two looks at an endpoint. Prometheus takes 15 by default.
SCRAPE_INTERVAL_S = 1.0
#: Seconds that an answer may take: as many as Prometheus allows by default.
TIMEOUT_S = 10.0
#: What `status --json` says of a run at each look.
LOOK = '"accepted"'
#: What the log of a process says whose metrics are served.
ADDRESS = re.compile(r"metrics: (http://\S+)")


def address_in(log: Path, program: Program, *, stall_s: float) -> str:
    """
    Return where the process of a log serves its metrics, once it does.

    Raises:
        UnavailableError: The program has ended, or takes too long.

    """
    wait_for_words("/metrics\n", log, program, stall_s=stall_s)
    found = ADDRESS.search(read(log))
    assert found is not None  # noqa: S101 - its line is there
    return found[1]


@contextmanager
def status_watching(run: str, directory: Path, *places: str, stall_s: float) -> Iterator[Program]:
    """
    Have `contextvqa status --watch` look at a run; its start is over, and not what watching costs.

    Args:
        directory: Where its log goes.
        places: Flags that say where the run is.

    Raises:
        UnavailableError: It has ended, or takes too long.

    """
    command = python_command("contextvqa", "status", run, "--watch", "--json", *places)
    with Program("status", command, {}, directory / "status.log") as status:
        wait_for_words(LOOK, status.log, status, stall_s=stall_s)
        yield status


@contextmanager
def scraping(addresses: Sequence[str]) -> Iterator[None]:
    """
    Ask all of these, one after the other, once a second.

    Raises:
        UnavailableError: One has not answered.

    """
    stopped = threading.Event()
    failures: list[Exception] = []

    def scrape() -> None:
        while True:
            for address in addresses:
                try:
                    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310
                        answer.read()
                except (OSError, HTTPException) as error:
                    # What has been measured may end while we ask.
                    if not stopped.is_set():
                        failures.append(error)
            if stopped.wait(SCRAPE_INTERVAL_S):
                return

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if failures:
        raise UnavailableError(f"an endpoint does not answer: {failures[0]}")
