"""How producers and daemons work, and when they wait or stop."""

import math
from dataclasses import dataclass

from contextvqa.options import setting
from contextvqa.settings.checks import refuse_below_one, refuse_negative


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """How far the producer runs ahead of the workers."""

    high_water: int = setting(
        10_000, "Queued records at which the producer holds back, until half of them are gone."
    )

    def __post_init__(self) -> None:
        refuse_below_one(self, "high_water")


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """What keeps a worker from going on as if nothing had happened."""

    refine_high_water: int = setting(
        10_000, "Queued generations at which workers stop claiming, until half of them are refined."
    )
    stall_timeout_s: float = setting(
        120.0, "Seconds without a token, while requests run, after which the engine is restarted."
    )
    max_memory_gb: float | None = setting(
        None,
        "Memory of a worker's processes, in GB, above which it drains and starts anew.",
        kind=float,
    )

    def __post_init__(self) -> None:
        refuse_below_one(self, "refine_high_water")
        for name in ("stall_timeout_s", "max_memory_gb"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                option = name.replace("_", "-")
                raise ValueError(f"--{option} is {value}; it must be a number above 0.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """How a worker or refiner process behaves."""

    drain_timeout_s: float = setting(
        30.0, "After SIGTERM, seconds that executions in flight may still take."
    )
    result_ttl_s: int = setting(300, "Seconds that a finished job stays visible in Redis.")
    max_retries: int = setting(3, "Further tries of a record after a transient failure.")
    retry_wait_s: float = setting(
        2.0, "Seconds before the first further try, give or take half; each next wait is double."
    )
    max_crashes: int = setting(3, "Crashes a record may be in flight at before it is rejected.")
    breaker_share: float = setting(
        0.5, "Share of a run's last executions failing alike above which it is paused; 1 is never."
    )
    breaker_window: int = setting(100, "Executions of a run that this share is taken of.")

    def __post_init__(self) -> None:
        refuse_negative(self, "drain_timeout_s", "max_retries", "retry_wait_s", "max_crashes")
        if self.result_ttl_s < 1:
            raise ValueError(
                f"--result-ttl-s is {self.result_ttl_s}; it must be at least 1 second."
            )
        refuse_below_one(self, "breaker_window")
        if not 0 < self.breaker_share <= 1:
            raise ValueError(
                f"--breaker-share is {self.breaker_share}; it must be above 0 and at most 1."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """When a worker or refiner process ends by itself."""

    burst: bool = setting(False, "Stop when the queue is empty.")
    until_stdin_closes: bool = setting(
        False, "Stop, as on SIGTERM, when standard input closes: for a supervising process."
    )
