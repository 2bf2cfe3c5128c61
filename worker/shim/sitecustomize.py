"""
Lets transformers and vLLM import beside a CPU build of torch, in every process that vLLM starts.

PyPI's torchvision, torchaudio and torchcodec are CUDA builds: beside a CPU torch their C++
libraries do not load, so that importing them, and with them vLLM, fails. The models here need of
them only that torchvision imports, which two declared operators are enough for. The other two may
as well not be installed. `worker.environment` puts this directory on PYTHONPATH, and the names of
what it found broken into BROKEN_EXTENSIONS; sound installations never meet this file.
"""

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

#: Variable that hands the names of the broken packages on to child processes, comma-separated.
BROKEN_EXTENSIONS = "CONTEXTVQA_BROKEN_EXTENSIONS"

SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class DeclareOperators(MetaPathFinder):
    """Declares torchvision's operators when it is first asked for, and finds nothing itself."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Declare once, then step aside."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            library = importlib.import_module("torch.library")
            for name, schema in SCHEMAS.items():
                library.define(name, schema)
        return None


def step_around(broken: Iterable[str]) -> None:
    """Make the broken packages harmless in this process."""
    for package in broken:
        if package == "torchvision":
            sys.meta_path.insert(0, DeclareOperators())
        else:
            # Python, and so whoever asks, takes a None entry as not installed.
            sys.modules[package] = None  # type: ignore[assignment]


def _run_shadowed_sitecustomize() -> None:
    """Run the sitecustomize that Python would have found without ours."""
    here = str(Path(__file__).parent)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    del sys.modules["sitecustomize"]
    try:
        importlib.import_module("sitecustomize")
    except ModuleNotFoundError:
        sys.modules["sitecustomize"] = ModuleType("sitecustomize")


if __name__ == "sitecustomize":
    step_around(filter(None, os.environ.get(BROKEN_EXTENSIONS, "").split(",")))
    _run_shadowed_sitecustomize()
