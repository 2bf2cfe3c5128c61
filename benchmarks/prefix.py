"""
Prefix: what vLLM's prefix cache saves with `--prompt-order text-first`.

By default the user's turn has the image first, as the pipeline that we follow has it and models are
trained with: prompts then differ from the image on, right after the system prompt. With the text
first they share all of it. The same images, prompt and seeds in a bare `AsyncLLM` loop, texts of one
length (`benchmarks.feeds.image_first`); vLLM itself says how many tokens it found in its cache,
which holds whole blocks: 128 tokens on the CPU, 16 on a GPU.
"""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import flags
from benchmarks.command import OUTPUT, main
from benchmarks.feed import MIN_RECORDS, NUM_RECORDS, check_count, run_to_end
from benchmarks.figures import Benchmark, Contender, Metric

BASELINE = "image_first"
METRICS = (
    Metric(name="records_per_s", title="records/s", baseline=BASELINE),
    Metric(name="prompt_tokens", title="prompt tokens/record", baseline=BASELINE),
    Metric(name="prefilled_tokens", title="of these prefilled", baseline=BASELINE),
    Metric(name="output_tokens", title="output tokens/record", baseline=BASELINE),
)


class Order(Contender):
    """One order of the user's turn: a program of `benchmarks.feeds`."""

    def __init__(self, name: str, num_records: int) -> None:
        self.name = name
        self.size = f"{num_records:,} records"
        self._num_records = num_records

    def measure(self, directory: Path) -> Mapping[str, float]:
        """Let it run to its end, and read what it left."""
        source = flags.draw(self._num_records, OUTPUT.resolve())
        left, _ = run_to_end(self.name, directory, self.name, source)
        check_count(len(left.texts), self._num_records, directory)
        return {
            "records_per_s": self._num_records / left.feed_s,
            "prompt_tokens": left.prompt_tokens / self._num_records,
            "prefilled_tokens": (left.prompt_tokens - left.cached_tokens) / self._num_records,
            "output_tokens": left.output_tokens / self._num_records,
        }


def contenders(scale: float) -> list[Contender]:
    """Return both orders."""
    num_records = max(MIN_RECORDS, round(NUM_RECORDS * scale))
    return [Order("image_first", num_records), Order("text_first", num_records)]


BENCHMARK = Benchmark(
    name="prefix",
    title="The image before the prompt, or after it: what the prefix cache saves",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
