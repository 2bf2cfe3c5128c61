"""As `image_first`, with `--prompt-order text-first`: all prompts begin alike up to the image."""

from functools import partial

from benchmarks.feeds.async_llm import load
from benchmarks.feeds.image_first import plan
from benchmarks.feeds.program import main

if __name__ == "__main__":
    main(load, partial(plan, order="text-first"))
