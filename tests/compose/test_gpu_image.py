"""The image of the GPU worker, on a stand-in that says it is vLLM: no GPU and no registry is needed."""

import subprocess
from pathlib import Path

import pytest

from tests.compose import stand_ins
from tests.compose.docker import Deployment, checked

pytestmark = pytest.mark.timeout(1800)

STAND_IN = """
FROM {base}
RUN package=$(python3 -c 'import site; print(site.getsitepackages()[0])')/vllm-{version}.dist-info \
    && mkdir -p $package \
    && printf 'Metadata-Version: 2.1\\nName: vllm\\nVersion: {version}\\n' > $package/METADATA \
    && echo pip > $package/INSTALLER && touch $package/RECORD
"""


def build(built: Deployment, directory: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Build the worker on an image that has a vLLM of this version."""
    image = f"contextvqa-stand-in:vllm-{version}"
    text = STAND_IN.format(base=stand_ins.IMAGE, version=version)
    (directory / "Dockerfile").write_text(text)
    checked("docker", "build", "--tag", image, directory)
    choices = {"COMPOSE_PROFILES": "gpu", "VLLM_IMAGE": image}
    return built.compose("build", "worker", choices=choices)


def test_it_brings_the_command_and_keeps_the_vllm_that_it_stands_on(
    built: Deployment, tmp_path: Path
) -> None:
    done = build(built, tmp_path, "0.32.0")

    assert done.returncode == 0, done.stderr
    worker = ("docker", "run", "--rm", "--read-only", "--user", built.owner)
    assert "contextvqa" in checked(*worker, "contextvqa-worker-gpu", "--version")
    freeze = ("--entrypoint", "python3", "contextvqa-worker-gpu", "-m", "pip", "freeze")
    assert "vllm==0.32.0" in checked(*worker, *freeze).splitlines()


def test_a_vllm_that_the_project_is_not_made_for_is_refused(
    built: Deployment, tmp_path: Path
) -> None:
    done = build(built, tmp_path, "0.1.0")

    assert done.returncode != 0
    assert "vllm<0.34,>=0.32" in done.stdout + done.stderr
