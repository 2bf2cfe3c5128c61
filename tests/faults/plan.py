"""
How often each fault is tried: few times in `make test`, as often as it takes in `make faults`.

    FAULTS=1      the full numbers, FAULTS=0.1 a tenth of them; unset: those of `make test`
    SEED=abc      the same random choices again; SEED=abc:17 only those of trial 17
"""

import math
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

from contextvqa.progress import Ticker

_BASE = uuid4().hex[:8]
#: Says every 10 s how far a long series is, where somebody wants to know.
progress = Ticker(lambda _: None)
#: Failed trials after which a test ends, and those of them that it shows.
MAX_FAILURES = 10
SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One line of the table."""

    #: What people read; empty for one that the table leaves out.
    text: str
    #: Trials in `make faults`; None where the fault has a fixed number of points, all of them tried.
    full: int | None = None
    #: Trials in `make test`.
    few: int | None = None
    #: Share of the fixed number that `make test` tries, others each time.
    share: float = 1.0


FAULTS = {
    "kills": Fault(text="SIGKILL at random moments, 3 per trial", full=1000, few=60),
    "sends": Fault(text="SIGKILL before and after every network send", share=0.3),
    "recovery": Fault(text="SIGKILL during the recovery from a SIGKILL", full=200, few=20),
    "sink-bytes": Fault(text="results cut at every byte of a batch"),
    "sink-order": Fault(text="SIGKILL around write, fsync and settle"),
    "sink-disk": Fault(text="disk full, EIO on fsync, read-only remount", full=50, few=6),
    "replies": Fault(text="reply lost or connection reset at every EXEC, 3 times each", share=0.3),
    "network": Fault(text="network cut for 5, 15 or 60 s, or slow", full=30, few=3),
    "hosts": Fault(text="one of two hosts cut off past the lease", full=30, few=2),
    "stalls": Fault(text="SIGSTOP past the lease, then SIGCONT", full=100, few=5),
    "redis-kill": Fault(text="SIGKILL of Redis, with its data kept, cut or lost", full=180, few=12),
    "producer-redis": Fault(text="Redis killed, lost or full under a producer", full=50, few=4),
    "memory": Fault(text="maxmemory reached and released", full=20, few=2),
    "producers": Fault(text="4 producers at once, one killed and run again", full=50, few=5),
    "clocks": Fault(text="clock an hour off on one host, rq info in 5 loops", full=30, few=3),
    "poison-kill": Fault(text="a record kills its process", full=20, few=2),
    "poison-engine": Fault(text="a record kills the engine", full=20, few=2),
    "poison-error": Fault(text="a record fails on every try", full=20, few=2),
    "poison-hang": Fault(text="a record never ends", full=20, few=2),
    "engine": Fault(
        text="vLLM's engine process killed, stopped, or orphaned by its killed worker",
        full=50,
        few=3,
    ),
    "stop": Fault(text="SIGTERM in time, beyond it, twice, during start", full=100, few=8),
    "hostile": Fault(text="jobs that somebody else wrote into Redis"),
    "images": Fault(text="mutated image files, one of each format per trial", full=20_000, few=500),
    "bad-images": Fault(text="hostile image files of every kind"),
    "decoder": Fault(text="SIGKILL of decoder processes, 3 per trial", full=50, few=4),
    "metrics": Fault(text="SIGKILL of all that runs, what is counted compared", full=50, few=3),
    "ledger": Fault(text=""),
    "eviction": Fault(text="a server that evicts keys is refused"),
}


@dataclass(kw_only=True, slots=True)
class Trial:
    """One trial, and the randomness that repeats it."""

    fault: str
    number: int
    base: str
    random: random.Random
    #: What went wrong, with the output of its processes.
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.fault}, trial {self.number}: repeat with SEED={self.base}:{self.number}"


def trials(fault: str, count: int | None = None) -> Iterator[Trial]:
    """
    Yield the trials of a fault, and fail after the last if some have failed.

    Args:
        count: How many there are, where that number is fixed.

    """
    base, _, only = os.environ.get("SEED", "").partition(":")
    base = base or _BASE
    failures: list[str] = []
    planned = [int(only)] if only else _planned(fault, count, base)
    for done, number in enumerate(planned):
        progress.tick(f"{fault}: {done} of {len(planned)} trials, {len(failures)} failed")
        generator = random.Random(f"{base}/{fault}/{number}")
        trial = Trial(fault=fault, number=number, base=base, random=generator)
        yield trial
        if trial.failure:
            failures.append(f"{trial}\n{trial.failure}")
        # Where everything fails, each trial takes as long as the patience of its waits.
        if len(failures) == MAX_FAILURES:
            break
    assert not failures, f"{len(failures)} trials failed\n" + "\n".join(failures[:SHOWN])


def _planned(fault: str, count: int | None, base: str) -> Sequence[int]:
    """Return the numbers of the trials: all where there is a fixed number of them, or a share."""
    known = FAULTS[fault]
    asked = os.environ.get("FAULTS")
    if count is None:
        assert known.full is not None
        assert known.few is not None
        return range(known.few if asked is None else max(1, math.ceil(known.full * float(asked))))
    share = known.share if asked is None else 1.0
    chosen = random.Random(f"{base}/{fault}").sample(range(count), math.ceil(count * share))
    return sorted(chosen)
