"""The GPUs of this host: which ones the driver lists, and which of them a worker is to use."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from contextvqa.errors import UnavailableError, UsageError, one_line

#: Lists GPUs and their parts. It comes with the driver, which also puts it into containers.
LIST_COMMAND = ("nvidia-smi", "-L")
#: Seconds that it may take: a driver that hangs does so for ever.
LIST_TIMEOUT_S = 60.0
#: Its lines: `GPU 0: NVIDIA H100 (UUID: GPU-7f57f032-…)`, `  MIG 2g.20gb Device 0: (UUID: MIG-…)`.
LINE = re.compile(r"^(?:GPU (\d+):|\s+MIG ).*\(UUID: (\S+)\)\s*$", re.MULTILINE)
#: Which GPUs a process may use; a scheduler or a container engine may have set it for us.
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class GPU:
    """A GPU, or a part of one (MIG): what one process may have for itself."""

    uuid: str
    #: Its place on the bus; none for a part.
    number: int | None

    def __str__(self) -> str:
        return self.uuid if self.number is None else str(self.number)

    @property
    def name(self) -> str:
        """A short name, for worker names and log lines."""
        return "-".join(self.uuid.lower().split("-")[:2]) if self.number is None else f"gpu{self}"


def choose(words: str, *, timeout_s: float = LIST_TIMEOUT_S) -> list[GPU]:
    """
    Return the GPUs that `--gpus` names, in its order.

    Args:
        timeout_s: What the driver may take to list them.

    Raises:
        UsageError: It names one that is not here, or not for us, or twice.
        UnavailableError: There is none here, or none for us.

    """
    gpus = _usable(_listed(timeout_s))
    if words.strip() == "all":
        return gpus
    chosen: list[GPU] = []
    for word in (part.strip() for part in words.split(",")):
        gpu = _find(word, gpus)
        if gpu is None:
            raise UsageError(
                f"--gpus names {word!r}, which is no GPU that can be used here; "
                f"there are {_names(gpus)}."
            )
        if gpu in chosen:
            raise UsageError(f"--gpus names GPU {gpu} twice.")
        chosen.append(gpu)
    return chosen


def environment_of(gpus: Sequence[GPU]) -> dict[str, str]:
    """Return what lets a process, and all that it starts, see these GPUs alone."""
    # Otherwise CUDA's numbers go by speed and are not nvidia-smi's.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", VISIBLE: ",".join(map(str, gpus))}


def _listed(timeout_s: float) -> list[GPU]:
    """List what the driver has: the parts of a GPU that is split, otherwise the GPU."""
    said = ask_driver(LIST_COMMAND, timeout_s=timeout_s)
    gpus: list[GPU] = []
    for number, uuid in LINE.findall(said):
        if not number and gpus and gpus[-1].number is not None:
            gpus.pop()  # split: CUDA sees its parts alone
        gpus.append(GPU(uuid, int(number) if number else None))
    if not gpus:
        raise UnavailableError(
            f"--gpus: nvidia-smi lists no GPU here; it says: {one_line(said) or 'nothing'}"
        )
    return gpus


def ask_driver(command: Sequence[str], *, timeout_s: float) -> str:
    """
    Return all that `nvidia-smi` says when it is called so.

    Raises:
        UnavailableError: It is not here, or it hangs.

    """
    try:
        # A GPU that fell off the bus is an error to it, with the others listed all the same.
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise UnavailableError(
            f"--gpus: nvidia-smi, which comes with NVIDIA's driver, cannot be run here "
            f"({error.strerror}); without --gpus vLLM looks for its devices by itself."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"--gpus: nvidia-smi does not answer in {timeout_s:.0f} s: the driver hangs."
        ) from error
    return done.stdout


def _usable(gpus: list[GPU]) -> list[GPU]:
    """Return those that whoever started us lets us see, in that order."""
    words = os.environ.get(VISIBLE)
    if words is None:
        return gpus
    usable: list[GPU] = []
    for word in words.split(","):
        gpu = _find(word.strip(), gpus)
        if gpu is None or gpu in usable:
            break  # CUDA too takes what stands before the first that it cannot
        usable.append(gpu)
    if not usable:
        raise UnavailableError(
            f"--gpus: {VISIBLE} is {words!r}, which lets us see none of {_names(gpus)}."
        )
    return usable


def _find(word: str, gpus: Sequence[GPU]) -> GPU | None:
    """Return the GPU of this number, or the one whose UUID begins so, as CUDA takes them."""
    matching = [gpu for gpu in gpus if str(gpu) == word or gpu.uuid.startswith(word)]
    return matching[0] if word and len(matching) == 1 else None


def _names(gpus: Sequence[GPU]) -> str:
    return ", ".join(f"{gpu} ({gpu.uuid})" if gpu.number is not None else gpu.uuid for gpu in gpus)
