"""The image of the GPU worker, on a stand-in that says it is vLLM: no GPU and no registry is needed."""

import subprocess
from pathlib import Path

import pytest

from tests.compose import stand_ins
from tests.compose.docker import Deployment, checked, run, said

pytestmark = pytest.mark.timeout(1800)

STAND_IN = """
FROM {base}
RUN place=$(python3 -c 'import site; print(site.getsitepackages()[0])') \
    && package=$place/vllm-{version}.dist-info \
    && mkdir -p $package $place/vllm $place/torch \
    && touch $place/vllm/__init__.py $place/torch/__init__.py \
    && echo 'cuda = "13.0"' > $place/torch/version.py \
    && printf 'Metadata-Version: 2.1\\nName: vllm\\nVersion: {version}\\n' > $package/METADATA \
    && echo pip > $package/INSTALLER && touch $package/RECORD
"""

#: Stands for the driver's command, on a host with two GPUs.
NVIDIA_SMI = """#!/bin/sh
echo 'GPU 0: NVIDIA H100 (UUID: GPU-00000000-0000-0000-0000-000000000000)'
echo 'GPU 1: NVIDIA H100 (UUID: GPU-11111111-1111-1111-1111-111111111111)'
"""


def build(built: Deployment, directory: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Build the worker on an image that has a vLLM of this version."""
    image = f"contextvqa-stand-in:vllm-{version}"
    stand_ins.build(image, STAND_IN.format(base=stand_ins.IMAGE, version=version), directory)
    choices = {"COMPOSE_PROFILES": "gpu", "VLLM_IMAGE": image}
    return built.compose("build", "worker", choices=choices)


@pytest.fixture(scope="module")
def worker_image(built: Deployment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the GPU worker."""
    done = build(built, tmp_path_factory.mktemp("vllm"), "0.32.0")
    assert done.returncode == 0, done.stderr
    return "contextvqa-worker-gpu"


def test_it_brings_the_command_and_keeps_the_vllm_that_it_stands_on(
    built: Deployment, worker_image: str
) -> None:
    worker = ("docker", "run", "--rm", "--read-only", "--user", built.owner)
    assert "contextvqa" in checked(*worker, worker_image, "--version")
    freeze = ("--entrypoint", "python3", worker_image, "-m", "pip", "freeze")
    assert "vllm==0.32.0" in checked(*worker, *freeze).splitlines()


def test_a_vllm_that_the_project_is_not_made_for_is_refused(
    built: Deployment, tmp_path: Path
) -> None:
    done = build(built, tmp_path, "0.1.0")

    assert done.returncode != 0
    assert "vllm<0.34,>=0.32" in done.stdout + done.stderr


@pytest.mark.usefixtures("worker_image")
def test_up_without_a_gpu_says_so_and_starts_no_worker(built: Deployment) -> None:
    done = built.compose("up", "-d", "worker", choices={"COMPOSE_PROFILES": "gpu"})
    is_running = built.is_running("worker")
    built.remove()

    assert done.returncode != 0
    assert [line for line in said(done) if "gpu" in line and "could not select" in line]
    assert not is_running


@pytest.mark.parametrize(
    ("command", "code", "begin"),
    [
        (("worker",), 2, ""),
        # What Compose starts before it, which says more.
        (("doctor", "--role", "worker"), 3, "failure devices: "),
    ],
)
def test_a_gpu_that_does_not_exist_is_named_beside_those_that_do(
    worker_image: str, tmp_path: Path, command: tuple[str, ...], code: int, begin: str
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(NVIDIA_SMI)
    smi.chmod(0o755)

    driver = ("--volume", f"{smi}:/usr/local/bin/nvidia-smi:ro", "--env", "CONTEXTVQA_GPUS=0,7")
    done = run("docker", "run", "--rm", *driver, worker_image, *command)

    assert done.returncode == code
    (line,) = [line for line in said(done) if line.startswith(begin)]
    assert "'7'" in line
    assert "there are 0 (GPU-0" in line
    assert "1 (GPU-1" in line
