"""Which container is killed when, by one seed."""

import random
from collections.abc import Iterator
from itertools import count

#: Seconds between two kills.
INTERVAL_S = (20.0, 60.0)
#: What is killed all the time, and how often before it is all begun again. Refiner 1 never is.
OFTEN = ("redis", "redis", "refiner 2", "refiner 2", "refiner 3", "refiner 3")
#: What is killed in the first half alone, so that its memory is seen over the second: it lives
#: long, or takes a minute until it works again.
SELDOM = ("cli", "worker-cpu")


def kills(seed: str, duration_s: float) -> Iterator[tuple[float, str]]:
    """Yield when something is killed, in seconds from the beginning, and what."""
    chance = random.Random(seed)
    at_s = 0.0
    for _ in count():
        deck = [*OFTEN, *SELDOM] if at_s < duration_s / 2 else [*OFTEN]
        chance.shuffle(deck)
        for victim in deck:
            at_s += chance.uniform(*INTERVAL_S)
            if at_s > duration_s:
                return
            if victim in OFTEN or at_s < duration_s / 2:
                yield at_s, victim
