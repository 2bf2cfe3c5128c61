"""All that `contextvqa status` says of one run, as JSON, as text and as one line."""

from dataclasses import asdict, dataclass

import msgspec
import orjson

from contextvqa.errors import in_lines, visible
from contextvqa.queueing.queues import GENERATE
from contextvqa.watching.funnel import FunnelState
from contextvqa.watching.funnel_text import table
from contextvqa.watching.state import RunState

#: Seconds of a minute and of an hour.
MINUTE_S, HOUR_S = 60, 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is said of one run."""

    state: RunState
    #: Records per second; None for a run at rest.
    rate: float | None
    funnel: FunnelState

    @property
    def eta_s(self) -> int | None:
        """Seconds until the run is complete, where that can be told."""
        return round(self.state.pending / self.rate) if self.state.pending and self.rate else None

    def to_json(self) -> bytes:
        """Return one JSON object."""
        return orjson.dumps(
            {
                **asdict(self.state),
                "rate": self.rate,
                "eta_s": self.eta_s,
                "funnel": msgspec.to_builtins(self.funnel, str_keys=True),
            }
        )

    def to_text(self) -> str:
        """Return it for people."""
        state = self.state
        pending = "unknown (its server is not running)"
        if state.pending is not None:
            pending = str(state.pending)
        counts = f"{state.accepted} accepted, {state.rejected} rejected, pending {pending}"
        lines = [f"run {state.run}: {counts}"]
        if state.paused:
            lines.append(f"  {state.paused.advise(state.run)}")
        if self.rate:
            eta = f", about {self.eta_s} s left" if self.eta_s else ""
            lines.append(f"  {self.rate} records/s{eta}")
        for name, queue in state.queues.items():
            counts = ", ".join(f"{count} {what}" for what, count in asdict(queue).items())
            lines.append(f"  queue {name}: {counts}")
        lines += [
            f"  worker {worker.name}: {worker.state}, {worker.occupancy} in flight, "
            f"{worker.settled} settled"
            for worker in state.workers
        ]
        return in_lines([*lines, *table(self.funnel)])

    def to_line(self) -> str:
        """Return it in one line, for whoever looks again and again."""
        state = self.state
        total = state.ended + (state.pending or 0)
        workers = [worker for worker in state.workers if worker.queue == GENERATE]
        in_flight = sum(worker.in_flight for worker in workers)
        slots = sum(worker.max_in_flight or 0 for worker in workers)
        parts = [
            f"{state.ended}/{total} records ({state.rejected} rejected)",
            f"{self.rate or 0.0:.1f} records/s",
            f"ETA {duration(self.eta_s)}",
            f"{in_flight} of {slots} in flight in {len(workers)} workers",
        ]
        rejects = self.funnel.rejects
        parts += [f"{reject.count} x {reason}" for reason, reject in rejects.items()]
        if state.paused:
            parts.append(f"paused: {state.paused.reason}")
        return visible(f"run {state.run}: {', '.join(parts)}")


def duration(seconds: int | None) -> str:
    """Return a time for people to wait; a dash where it is not known."""
    if seconds is None:
        return "-"
    if seconds < MINUTE_S:
        return f"{seconds} s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S} min {seconds % MINUTE_S} s"
    return f"{seconds // HOUR_S} h {seconds % HOUR_S // MINUTE_S} min"
