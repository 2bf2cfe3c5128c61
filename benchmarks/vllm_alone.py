"""vLLM's engine with the arguments of our worker, and nothing else; it logs the same steps."""

import sys

from benchmarks.feeds.async_llm import load
from benchmarks.feeds.program import FLAGS


def main() -> None:
    """Load the engine, and end it."""
    say("loading: model")
    with load(FLAGS):
        say("loaded: model")


def say(words: str) -> None:
    """Say it at once."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
