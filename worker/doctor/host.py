"""What a worker needs of its host besides: images, descriptors, shared memory."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from contextvqa.doctor.asked import Asked
from contextvqa.findings import Finding, failure, ok, warning
from worker.decoders import default_decoders
from worker.doctor.engine import is_installed
from worker.environment import is_cpu_build

#: Descriptors of a worker process besides those of its decoders: the CPU worker has some 30, and
#: more with an engine of several processes.
LEAST_DESCRIPTORS = 256
#: Pipes and what watches the process, for each decoder.
DESCRIPTORS_PER_DECODER = 8
#: Where the processes of an engine hand each other tensors. Containers get 64 MB unless told.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - no file of ours is made there
SHARED_MEMORY_BYTES = 1 << 30


def check(asked: Asked) -> Iterator[Finding]:
    """Look at them; without an engine only at the images."""
    yield _images(asked.images.image_root)
    if not is_installed():
        return
    yield _descriptors(asked.images.decoders or default_decoders(len(os.sched_getaffinity(0))))
    yield _shared_memory(asked.engine.tensor_parallel_size)


def _images(root: Path) -> Finding:
    shown = root.absolute()
    if not root.is_dir():
        remedy = "name the directory that relative image references start from"
        return failure("images", f"there is no directory {shown}", "--image-root to be one", remedy)
    if not os.access(root, os.R_OK | os.X_OK):
        remedy = "give this user the right to it"
        return failure("images", f"{shown} cannot be read by this user", "a readable one", remedy)
    return ok("images", f"relative references start from {shown}")


def _descriptors(num_decoders: int) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = LEAST_DESCRIPTORS + DESCRIPTORS_PER_DECODER * num_decoders
    found = f"at most {soft:,} open files per process"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("descriptors", found)
    expected = f"{needed:,} or more, for {num_decoders} decoders and an engine"
    return failure("descriptors", found, expected, f"ulimit -n {needed}")


def _shared_memory(tensor_parallel_size: int) -> Finding:
    status = os.statvfs(SHARED_MEMORY)
    num_bytes = status.f_bavail * status.f_frsize
    found = f"{num_bytes / 1e9:,.2f} GB free in {SHARED_MEMORY}"
    if num_bytes >= SHARED_MEMORY_BYTES or is_cpu_build():
        return ok("shared memory", found)
    expected = f"{SHARED_MEMORY_BYTES / 1e9:,.2f} GB or more, for the engine's processes"
    remedy = "give the container more: shm_size in Compose, --shm-size in Docker"
    # One GPU can do without; NCCL cannot.
    worse = failure if tensor_parallel_size > 1 else warning
    return worse("shared memory", found, expected, remedy)
