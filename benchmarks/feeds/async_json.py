"""The loop of `async_llm`, with `--output-mode json`."""

from dataclasses import replace
from functools import partial

from benchmarks.feeds.async_llm import load, plan
from benchmarks.feeds.program import SAMPLING, main

if __name__ == "__main__":
    main(load, partial(plan, sampling=replace(SAMPLING, output_mode="json")))
