"""What the doctor is asked about: the settings that the commands of this host would get."""

from dataclasses import dataclass
from typing import Literal

from contextvqa.settings import Devices, Engine, Images, Model, Sampling, Store

#: What a host is for.
Role = Literal["enqueue", "worker", "refiner"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One visit: what this host is for, its settings, and how long a check may take."""

    #: None for a host that does everything, or whatever it can.
    role: Role | None
    store: Store
    model: Model
    sampling: Sampling
    engine: Engine
    devices: Devices
    images: Images
    #: The prompt of rows that have none.
    prompt: str
    timeout_s: float

    @property
    def program_timeout_s(self) -> float:
        """What a program may take that a check starts: it is ended before the check is given up."""
        return 0.8 * self.timeout_s
