"""Metrics as whoever asks an endpoint gets them."""

import urllib.request
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.scraping import ADDRESS
from contextvqa.errors import UnavailableError, UsageError
from contextvqa.listening import listen


class Scrape:
    """All samples of one answer."""

    def __init__(self, url: str) -> None:
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the one sample of this name that has these labels."""
        (value,) = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return value

    def count(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Add up the samples of a name that are not 0, by some of their labels."""
        counts: Counter[tuple[str, ...]] = Counter()
        for sample in self._samples:
            if sample.name == name and sample.value:
                counts[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return counts


def url_in(log: Path) -> str | None:
    """Return where a process serves, as its log says; None while it does not."""
    found = ADDRESS.search(log.read_text()) if log.exists() else None
    return found[1] if found else None


def free_ports(number: int) -> int:
    """Return the first of so many ports in a row that are free."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(listen("127.0.0.1", 0, option="")).getsockname()[1]
            try:
                for port in range(first + 1, first + number):
                    stack.enter_context(listen("127.0.0.1", port, option=""))
            except (UnavailableError, UsageError):
                continue
            return int(first)


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/metrics"
