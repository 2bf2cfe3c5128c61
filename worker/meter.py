"""What the generate stage counts of its records: images, tokens, and how long they take."""

import contextlib
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from contextvqa.metrics.histogram import SLOW_S, Histogram
from contextvqa.records import Generation


class GenerateMeter(Collector):
    """Counts for one worker, on its event loop. Whoever asks may read, on any thread."""

    def __init__(self) -> None:
        #: Records whose images are being decoded or wait for it; that the engine was asked for.
        self.num_decoding = self.num_asked = 0
        self._num_generations = self._num_images = 0
        self._prompt_tokens = self._output_tokens = 0
        self._prepare_s, self._engine_s = Histogram(SLOW_S), Histogram(SLOW_S)

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Count a record in `num_decoding`."""
        self.num_decoding += 1
        try:
            yield
        finally:
            self.num_decoding -= 1

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Count a record in `num_asked`."""
        self.num_asked += 1
        try:
            yield
        finally:
            self.num_asked -= 1

    def note(self, generation: Generation) -> None:
        """Count what was generated."""
        self._num_generations += 1
        self._num_images += len(generation.record.image)
        self._prompt_tokens += generation.prompt_tokens
        self._output_tokens += generation.output_tokens
        self._prepare_s.observe(generation.image_s)
        self._engine_s.observe(generation.engine_s)

    def collect(self) -> Iterator[Metric]:
        """Yield all of it."""
        for name, text, value in (
            ("generations", "Texts that were generated.", self._num_generations),
            ("images", "Images of the records of these texts.", self._num_images),
            ("prompt_tokens", "Tokens of their prompts, images included.", self._prompt_tokens),
            ("output_tokens", "Tokens that were written.", self._output_tokens),
        ):
            yield CounterMetricFamily(f"contextvqa_{name}", text, value)
        yield self._prepare_s.family(
            "contextvqa_prepare_seconds", "From a record's claim until its images are decoded."
        )
        yield self._engine_s.family(
            "contextvqa_engine_seconds", "From then until its text is whole."
        )
