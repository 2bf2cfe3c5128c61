"""
Structured: what `--output-mode json` yields and costs, beside the text that the prompt asks for.

The same images, prompt and seeds in a bare `AsyncLLM` loop (`benchmarks.feeds.async_llm`), a fresh
engine per round. Each first text is parsed and judged by the default gates, as by a run with
`--max-attempts 1`. The clock includes what vLLM prepares at the first request for JSON.

The model of examples/flags was trained to write the layout of the prompt, and JSON in one of five
outputs: what another model yields is for you to measure.
"""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.command import main
from benchmarks.feed import MIN_RECORDS, NUM_RECORDS, Feeder, Work, check_count, run_to_end
from benchmarks.feeds.program import Left
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.yields import Yield
from contextvqa.run_config import DEFAULT_QUALITY

BASELINE = "text"
METRICS = (
    Metric(name="accepted_records", title="records accepted", baseline=BASELINE),
    Metric(name="kept_pairs", title="pairs kept", baseline=BASELINE),
    Metric(name="output_tokens", title="output tokens/record", baseline=BASELINE),
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="cpu_ms", title="CPU ms/record", baseline=BASELINE),
)


class Mode(Feeder):
    """One output mode: a program of `benchmarks.feeds`."""

    def __init__(self, name: str, module: str, num_records: int) -> None:
        super().__init__(name, Work(num_records=num_records))
        self._module = module

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Let it run to its end, and judge what it left."""
        left, _ = run_to_end(self.name, directory, self._module, self.source)
        check_count(len(left.texts), self.work.num_records, directory)
        return figures_of(left)


def figures_of(left: Left) -> dict[str, float]:
    """Return the value of each metric."""
    found = Yield()
    for text, finish_reason in zip(left.texts, left.finish_reasons, strict=True):
        found.add(text, finish_reason, DEFAULT_QUALITY)
    return {
        "accepted_records": found.accepted,
        "kept_pairs": found.kept,
        "output_tokens": left.output_tokens / found.records,
        "records_per_s": found.records / left.feed_s,
        "cpu_ms": left.feed_cpu_s / found.records * 1000,
    }


def contenders(scale: float) -> list[Contender]:
    """Return both modes."""
    num_records = max(MIN_RECORDS, round(NUM_RECORDS * scale))
    return [Mode("text", "async_llm", num_records), Mode("json", "async_json", num_records)]


BENCHMARK = Benchmark(
    name="structured",
    title="JSON by schema, or the text that the prompt asks for: yield, tokens and records/s",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
