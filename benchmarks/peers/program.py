"""What the programs of all peers share: their verbs."""

import sys
from collections.abc import Callable


def main(
    enqueue: Callable[[int], object], generate: Callable[[], object], refine: Callable[[], object]
) -> None:
    """Do what the command line asks for."""
    verb, *arguments = sys.argv[1:]
    if verb == "enqueue":
        enqueue(int(arguments[0]))
    elif verb == "generate":
        generate()
    else:
        refine()
