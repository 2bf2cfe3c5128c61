"""The places of this host that have an engine each: some GPUs, some cores, or all there is."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contextvqa.errors import UnavailableError, UsageError
from contextvqa.logs import context
from contextvqa.settings import Devices
from worker import environment, gpus

#: Numbers and ranges, as `taskset -c` and `docker run --cpuset-cpus` take them.
CPU_LIST = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What one worker process runs on."""

    #: As in worker names and log lines: `gpu0`, `gpu0+1`, `cpu0-15`. Empty for all there is.
    name: str = ""
    #: Its share of the cores.
    num_cores: int
    #: Cores that nothing it starts may leave; empty where it may use any.
    cpus: frozenset[int] = frozenset()
    #: Lets it, and all that it starts, see the GPUs of the place alone.
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What its log lines begin with."""
        return f"[{self.name}] " if self.name else ""

    def take(self) -> None:
        """Confine this process, and all that it starts, to the place. Before vLLM is imported."""
        os.environ.update(self.variables)
        if self.cpus:
            os.sched_setaffinity(0, self.cpus)
        if self.name:
            context.note(place=self.name)
            environment.prefix_log_lines(self.prefix)


def places_of(devices: Devices, *, tensor_parallel_size: int) -> list[Place]:
    """
    Return the places that the settings name: one for all there is where they name none.

    Raises:
        UsageError: They name what is not here, or something twice.
        UnavailableError: There is no GPU here, or vLLM is built for something else.

    """
    if devices.gpus is not None:
        _require_build("--gpus", is_cpu=False)
        return gpu_places(gpus.choose(devices.gpus), tensor_parallel_size)
    if devices.cpus:
        _require_build("--cpus", is_cpu=True)
        return _cpu_places(devices.cpus)
    return [Place(num_cores=len(os.sched_getaffinity(0)))]


def _require_build(flag: str, *, is_cpu: bool) -> None:
    if environment.is_cpu_build() != is_cpu:
        wanted, found = ("cpu", "gpu") if is_cpu else ("gpu", "cpu")
        raise UnavailableError(
            f"{flag} is for the vLLM of contextvqa[{wanted}], and the one that is installed is that "
            f"of contextvqa[{found}]; leave {flag} out, or install the other."
        )


def gpu_places(chosen: Sequence[gpus.GPU], size: int) -> list[Place]:
    """
    Return a place for each group of so many GPUs, in the order given.

    Raises:
        UsageError: They cannot be shared out so.

    """
    if len(chosen) % size:
        raise UsageError(
            f"--gpus names {len(chosen)} GPUs ({', '.join(map(str, chosen))}), which cannot be "
            f"shared out in groups of --tensor-parallel-size {size}."
        )
    if size > 1 and any(gpu.number is None for gpu in chosen):
        raise UsageError("an engine spans no parts of split GPUs (MIG): give whole ones to --gpus.")
    groups = [chosen[begin : begin + size] for begin in range(0, len(chosen), size)]
    num_cores = len(os.sched_getaffinity(0)) // len(groups)
    return [
        Place(
            name="+".join([group[0].name, *map(str, group[1:])]),
            num_cores=num_cores,
            variables=gpus.environment_of(group),
        )
        for group in groups
    ]


def _cpu_places(lists: Sequence[str]) -> list[Place]:
    usable = os.sched_getaffinity(0)
    taken: set[int] = set()
    places = []
    for words in lists:
        cpus = _cpus(words, usable)
        if shared := cpus & taken:
            raise UsageError(f"--cpus {words} names core {min(shared)}, which another one has.")
        taken |= cpus
        name = "cpu" + words.replace(",", "+")
        places.append(Place(name=name, num_cores=len(cpus), cpus=frozenset(cpus)))
    return places


def _cpus(words: str, usable: set[int]) -> set[int]:
    """Return the cores of a list such as 0-3,8."""
    if not CPU_LIST.fullmatch(words):
        raise UsageError(f"--cpus {words!r} is no list of cores such as 0-15 or 0-3,8.")
    cpus: set[int] = set()
    for part in words.split(","):
        first, _, last = part.partition("-")
        cpus |= _range(int(first), int(last or first), part, usable)
    return cpus


def _range(first: int, last: int, words: str, usable: set[int]) -> set[int]:
    if last < first:
        raise UsageError(f"--cpus: {words} runs backwards; it should be {last}-{first}.")
    cores = set(range(first, last + 1))
    if missing := cores - usable:
        raise UsageError(
            f"--cpus names core {min(missing)}, and this process may use {len(usable)} cores, "
            f"{min(usable)} to {max(usable)}; `taskset -pc $$` shows which."
        )
    return cores
