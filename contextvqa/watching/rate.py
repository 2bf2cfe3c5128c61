"""How fast a run goes: from looks at it, or from the times in its lines."""

import time
from collections import deque
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import orjson

#: Seconds of looks that a rate is taken of.
WINDOW_S = 60.0
#: Bytes at the end of results.jsonl from which the rate is read.
TAIL_BYTES = 1 << 19
#: Seconds without a result after which a run has no rate.
STALE_S = 120.0


class RateWindow:
    """The rate over the last minute, as whoever looks again and again sees it."""

    def __init__(self) -> None:
        #: Looks: monotonic seconds, and records that had ended.
        self._looks: deque[tuple[float, int]] = deque()

    def note(self, num_ended: int, now_s: float | None = None) -> None:
        """Note how many records have ended by now."""
        now_s = time.monotonic() if now_s is None else now_s
        self._looks.append((now_s, num_ended))
        # The last look before the window stays: it is where the window begins.
        while len(self._looks) > 2 and self._looks[1][0] <= now_s - WINDOW_S:  # noqa: PLR2004
            self._looks.popleft()

    @property
    def rate(self) -> float | None:
        """Records per second; None before the second look."""
        (began_s, num_before), (now_s, num_ended) = self._looks[0], self._looks[-1]
        return round((num_ended - num_before) / (now_s - began_s), 2) if now_s > began_s else None


def recent_rate(results: Path) -> float | None:
    """Accepted records per second at the end of the file; None for a run at rest."""
    try:
        with results.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[1 if size > TAIL_BYTES else 0 : -1]
    except FileNotFoundError:
        return None
    # Lines stand in the order of refining.
    times = sorted(filter(None, map(_generated_at, lines)))
    if not times or time.time() - times[-1].timestamp() > STALE_S:
        return None
    # A run that was resumed has a gap that is no part of its rate.
    gaps = [index for index, (a, b) in enumerate(pairwise(times), 1) if _seconds(a, b) > STALE_S]
    recent = times[gaps[-1] if gaps else 0 :]
    elapsed_s = _seconds(recent[0], recent[-1])
    return round((len(recent) - 1) / elapsed_s, 2) if elapsed_s else None


def _generated_at(line: bytes) -> datetime | None:
    """Return when a line's text was written; None where it does not say, or says something else."""
    try:
        at = datetime.fromisoformat(orjson.loads(line)["meta"]["generated_at"])
    except (ValueError, TypeError, KeyError):
        return None
    return at if at.tzinfo else None


def _seconds(first: datetime, last: datetime) -> float:
    return (last - first).total_seconds()
