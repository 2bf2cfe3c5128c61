"""The environment of vLLM: broken extensions of torch are stepped around, here and in children."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contextvqa.errors import UnavailableError
from tests.support import ROOT
from worker import environment
from worker.shim import sitecustomize as shim


def run_child(script: str, *, paths: list[Path], broken: str) -> str:
    """Run Python with the shim in place, as vLLM's processes do."""
    places = [str(path) for path in (Path(shim.__file__).parent, *paths)]
    variables = {"PYTHONPATH": os.pathsep.join(places), shim.BROKEN_EXTENSIONS: broken}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_a_broken_package_looks_not_installed_in_child_processes(tmp_path: Path) -> None:
    (tmp_path / "broken_audio.py").write_text("raise OSError('libcuda is missing')")
    script = "import importlib.util; print(importlib.util.find_spec('broken_audio'))"

    assert run_child(script, paths=[tmp_path], broken="broken_audio") == "None"
    assert "broken_audio.py" in run_child(script, paths=[tmp_path], broken="")


def test_a_sitecustomize_that_the_shim_shadows_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.shadowed = 'was here'")

    assert run_child("import sys; print(sys.shadowed)", paths=[tmp_path], broken="") == "was here"


def test_vllm_that_is_not_installed_is_said_in_one_line_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda _: None)

    with pytest.raises(UnavailableError, match=r"contextvqa\[gpu\]"):
        environment.prepare("any")


def test_only_a_small_local_model_counts_as_small(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 10)

    assert environment._weight_bytes(str(tmp_path)) == 10
    assert environment._weight_bytes("org/some-model-on-a-hub") == float("inf")


@pytest.mark.vllm
def test_transformers_imports_torchvision_beside_this_torch_in_a_child_of_a_prepared_process() -> (
    None
):
    child = "import torchvision; print('imported')"
    script = (
        "import subprocess, sys; from worker.environment import step_around_broken_extensions as step;"
        f"step(); subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert importlib.util.find_spec("torchvision") is not None
    assert done.stdout == "imported\n", done.stderr
