"""What vLLM needs around it, found out before it is imported: environment and engine defaults."""

import importlib
import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contextvqa.errors import UnavailableError
from contextvqa.logs.setup import JSON_CONFIG
from worker.output_schema import BACKEND
from worker.shim import sitecustomize as shim

GIB = 1 << 30
#: Weights below this run faster on one thread: there is less work in a step than in sharing it.
SMALL_MODEL_BYTES = 100_000_000

#: Packages that ship a C++ library for one build of torch, and where it stands in them.
EXTENSIONS = {
    "torchvision": "_C*.so",
    "torchaudio": "lib/_torchaudio*.so",
    "torchcodec": "libtorchcodec_image*.so",
}

#: Engine arguments that serve this pipeline on any platform; `--engine` overrides them.
ENGINE_DEFAULTS: dict[str, Any] = {
    # Each image is seen once: caching its features costs gigabytes and finds nothing.
    "mm_processor_cache_gb": 0,
    "disable_log_stats": True,
    # Costs nothing until the first request for JSON.
    "structured_outputs_config": {"backend": BACKEND},
}
#: On the CPU as well.
CPU_DEFAULTS: dict[str, Any] = {
    # Compilation takes longer than most CPU runs.
    "enforce_eager": True,
    # vLLM's CPU backend kills the engine when the prefill of a request with a seed is split.
    "enable_chunked_prefill": False,
    # The model runs in the engine's process: one of its own would only wait for it.
    "distributed_executor_backend": "uni",
    # Really committed, unlike a GPU's share.
    "kv_cache_memory_bytes": GIB,
    "max_num_seqs": 128,
    "dtype": "bfloat16",
}


def prepare(model: str) -> dict[str, Any]:
    """
    Make `import vllm` work, here and in the processes it starts. Call it before that import.

    Returns:
        The engine arguments that suit this platform.

    Raises:
        UnavailableError: vLLM is not installed.

    """
    is_cpu = is_cpu_build()
    # A supervisor tells the engine's processes by their environment. A forked one would show that
    # of its parent, and one that gives itself a title would write over its own.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ["SPT_NOENV"] = "1"
    if not is_cpu:
        return ENGINE_DEFAULTS
    # Without this vLLM rewrites the "uni" backend to "mp".
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if _weight_bytes(model) < SMALL_MODEL_BYTES:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    step_around_broken_extensions()
    return ENGINE_DEFAULTS | CPU_DEFAULTS


def is_cpu_build() -> bool:
    """
    Say whether the installed vLLM runs on the CPU, without the seconds of its import.

    Raises:
        UnavailableError: vLLM is not installed.

    """
    if find_spec("vllm") is None:
        raise UnavailableError(
            "vLLM is not installed; install it with pip install 'contextvqa[gpu]', "
            "or 'contextvqa[cpu]' for a machine without a GPU."
        )
    return _is_cpu_torch()


def torch_build() -> dict[str, Any] | None:
    """Return what torch says it is built for (`cuda`, `hip`), unimported; None where there is none."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return runpy.run_path(str(Path(spec.origin).with_name("version.py")))


def prefix_log_lines(prefix: str) -> None:
    """Let the log lines of vLLM, here and in the processes it starts, begin so."""
    os.environ["VLLM_LOGGING_PREFIX"] = prefix


def log_as_json() -> None:
    """Let vLLM's own log lines, here and in the processes it starts, be ours; unless it is told more."""
    if os.environ.get("VLLM_CONFIGURE_LOGGING") != "0":
        os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", str(JSON_CONFIG))


def step_around_broken_extensions() -> None:
    """Make `import transformers` work beside a CPU torch, here and in child processes."""
    if shim.BROKEN_EXTENSIONS in os.environ:
        return  # done, here or by whoever started this process
    broken = [package for package, library in EXTENSIONS.items() if _is_broken(package, library)]
    if not broken:
        return
    shim.step_around(broken)
    os.environ[shim.BROKEN_EXTENSIONS] = ",".join(broken)
    paths = [str(Path(shim.__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def _is_cpu_torch() -> bool:
    """Whether torch is built without CUDA and ROCm."""
    build = torch_build()
    return build is not None and build.get("cuda") is None and build.get("hip") is None


def _weight_bytes(model: str) -> float:
    """Size of a local model's weights; infinite for one that is not here."""
    sizes = [path.stat().st_size for path in Path(model).glob("*.safetensors")]
    return sum(sizes) or float("inf")


def _is_broken(package: str, library: str) -> bool:
    """Whether a package is here, but its C++ library does not load beside this torch."""
    spec = None if package in sys.modules else find_spec(package)
    if spec is None or spec.origin is None:
        return False
    torch = importlib.import_module("torch")
    try:
        for path in Path(spec.origin).parent.glob(library):
            torch.ops.load_library(str(path))
    except OSError:
        return True
    return False
