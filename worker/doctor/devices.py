"""What the engine is to run on: GPUs and their driver, or cores."""

import re
from collections.abc import Iterator, Sequence

from contextvqa.doctor.asked import Asked
from contextvqa.errors import ContextVQAError
from contextvqa.findings import Finding, failure, ok, warning
from worker import gpus
from worker.doctor.engine import is_installed
from worker.environment import is_cpu_build, torch_build
from worker.gpus import GPU
from worker.places import gpu_places, places_of

#: In the head of what plain `nvidia-smi` says: the driver, and the newest CUDA that it can run.
DRIVER = re.compile(r"Driver Version: (\S+) .*CUDA Version: (\d+)\.(\d+)")
#: Prints `GPU-7f57f032-…, 81559, 1024` for each GPU, in MiB.
MEMORY_COMMAND = (
    *("nvidia-smi", "--query-gpu=uuid,memory.total,memory.used"),
    "--format=csv,noheader,nounits",
)
#: Programs that one visit may start, one after the other.
NUM_PROGRAMS = 3


def check(asked: Asked) -> Iterator[Finding]:
    """
    Look at the devices of `--gpus` or `--cpus`, else at what vLLM would take.

    Raises:
        ContextVQAError: What they name is not here.

    """
    if not is_installed():
        return
    timeout_s = asked.program_timeout_s / NUM_PROGRAMS
    if is_cpu_build() or asked.devices.cpus:
        yield from _cores(asked, timeout_s)
    elif (torch_build() or {}).get("cuda") is None:
        yield ok("devices", "not looked at: this vLLM is built for none of NVIDIA's")
    else:
        yield from _gpus(asked, timeout_s)


def _cores(asked: Asked, timeout_s: float) -> Iterator[Finding]:
    places = places_of(asked.devices, tensor_parallel_size=asked.engine.tensor_parallel_size)
    found = f"no GPU is used: the CPU worker, {len(places)} engine on {places[0].num_cores} cores"
    if len(places) > 1:
        found = f"no GPU is used: the CPU worker, {len(places)} engines on cores of their own"
    try:
        idle = gpus.choose("all", timeout_s=timeout_s)
    except ContextVQAError:
        yield ok("devices", found)
        return
    expected = f"the {len(idle)} GPUs of this host to be used"
    remedy = "install contextvqa[gpu] in place of contextvqa[cpu]"
    yield warning("devices", found, expected, remedy)


def _gpus(asked: Asked, timeout_s: float) -> Iterator[Finding]:
    size = asked.engine.tensor_parallel_size
    chosen = gpus.choose(asked.devices.gpus or "all", timeout_s=timeout_s)
    if asked.devices.gpus is not None:
        num_engines = len(gpu_places(chosen, size))
    elif len(chosen) < size:
        found = f"{len(chosen)} GPUs for --tensor-parallel-size {size}"
        yield failure("devices", found, f"{size} or more", "choose a smaller one")
        return
    else:
        num_engines = 1
    names = ", ".join(gpu.name for gpu in chosen)
    yield ok("devices", f"{names}: {num_engines} engine{'s' * (num_engines > 1)}")
    yield _driver(gpus.ask_driver(("nvidia-smi",), timeout_s=timeout_s))
    yield from _memory(asked, chosen, gpus.ask_driver(MEMORY_COMMAND, timeout_s=timeout_s))


def _driver(said: str) -> Finding:
    """Compare what the driver can run with what torch is built for."""
    head = DRIVER.search(said)
    wanted = str((torch_build() or {})["cuda"])
    if head is None:
        expected = "its version and that of CUDA, in the head of nvidia-smi"
        return warning("driver", "of unknown version", expected, "see what nvidia-smi says")
    driver, *newest = head.groups()
    found = f"{driver}, for CUDA {'.'.join(newest)}; torch is built for {wanted}"
    can, needs = tuple(map(int, newest)), tuple(map(int, wanted.split(".")[:2]))
    remedy = f"install a driver for CUDA {wanted} or later, or a vLLM built for an older one"
    if can[0] < needs[0]:
        return failure("driver", found, f"CUDA {needs[0]} or later", remedy)
    if can < needs:
        # Within a major version older drivers run newer programs, but compile nothing for them.
        return warning("driver", found, f"CUDA {wanted} or later", remedy)
    return ok("driver", found)


def _memory(asked: Asked, chosen: Sequence[GPU], said: str) -> Iterator[Finding]:
    """Look whether each GPU has free what vLLM takes at once, or refuses to start."""
    rows = [line.split(", ") for line in said.splitlines() if line.count(", ") == 2]  # noqa: PLR2004
    memory = {uuid: (total, used) for uuid, total, used in rows if (total + used).isdecimal()}
    share = asked.engine.gpu_memory_utilization
    for gpu in chosen:
        if gpu.uuid not in memory:
            continue  # a part of one, of which nvidia-smi does not tell it
        total, used = (int(mib) << 20 for mib in memory[gpu.uuid])
        found = f"{gpu.name}: {used / 1e9:,.1f} of {total / 1e9:,.1f} GB in use"
        if total - used >= share * total:
            yield ok("gpu memory", found)
        else:
            expected = f"{share:.0%} free, as --gpu-memory-utilization says"
            remedy = "unless it is our own worker, end what uses the GPU, or lower it"
            yield warning("gpu memory", found, expected, remedy)
