"""What the doctor finds of an engine's host: drivers, models and limits that are wrong on purpose."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from contextvqa.doctor.asked import Asked
from contextvqa.errors import ContextVQAError
from contextvqa.findings import Finding, Verdict
from contextvqa.settings import Devices, Engine, Images, Model, Sampling, Store
from producer.prompt import DEFAULT_PROMPT
from tests.support import FLAGS
from worker.doctor import context, devices, engine, host, model

ASKED = Asked(
    role="worker",
    store=Store(),
    model=Model(model=str(FLAGS / "model")),
    sampling=Sampling(),
    engine=Engine(),
    devices=Devices(),
    images=Images(),
    prompt=DEFAULT_PROMPT,
    timeout_s=3.0,
)
#: A user without any rights.
NOBODY = 65_534
#: The head of nvidia-smi with the drivers of one host each.
HEADS = {
    "580.159.04": "| NVIDIA-SMI 580.159.04   Driver Version: 580.159.04   CUDA Version: 13.0  |",
    "575.51": "| NVIDIA-SMI 575.51   Driver Version: 575.51   CUDA Version: 12.9     |",
}


class Host:
    """A host with a driver, whose vLLM is built for CUDA."""

    def __init__(self, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._program = programs / "nvidia-smi"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(engine, "find_spec", lambda _: True)
        monkeypatch.setattr(devices, "is_cpu_build", lambda: False)
        monkeypatch.setattr("worker.environment.is_cpu_build", lambda: False)
        self.builds_for("13.0")

    def builds_for(self, cuda: str | None) -> None:
        """Let torch be built for this version of CUDA."""
        self._monkeypatch.setattr(devices, "torch_build", lambda: {"cuda": cuda})

    def says(self, *, gpus: int = 1, head: str = HEADS["580.159.04"], used: object = 0) -> None:
        """Let the driver say this."""
        lists = "\n".join(f"GPU {n}: NVIDIA H200 (UUID: GPU-{n})" for n in range(gpus))
        memory = "\n".join(f"GPU-{n}, 143771, {used}" for n in range(gpus))
        self.does(
            f'case "$1" in -L) cat <<"."\n{lists}\n.\n;; --query*) cat <<"."\n{memory}\n.\n'
            f';; *) cat <<"."\n{head}\n.\n;; esac'
        )

    def does(self, script: str) -> None:
        """Let the driver's program be this."""
        self._program.write_text(f"#!/bin/sh\n{script}\n")
        self._program.chmod(0o755)


@pytest.fixture
def gpu_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def verdicts(findings: Any) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in findings}


def test_gpus_that_an_engine_can_use_are_named(gpu_host: Host) -> None:
    gpu_host.says(gpus=2)

    found = list(devices.check(replace(ASKED, devices=Devices(gpus="all"))))

    assert {finding.verdict for finding in found} == {Verdict.OK}
    assert [finding.found for finding in found if finding.check == "devices"] == [
        "gpu0, gpu1: 2 engines"
    ]
    assert [finding.check for finding in found].count("gpu memory") == 2


@pytest.mark.parametrize(
    ("driver", "cuda", "verdict"),
    [
        ("580.159.04", "13.0", Verdict.OK),
        ("580.159.04", "12.8", Verdict.OK),
        ("580.159.04", "13.1", Verdict.WARNING),
        ("575.51", "13.0", Verdict.FAILURE),
        ("575.51", "12.9", Verdict.OK),
    ],
)
def test_a_driver_is_judged_by_the_cuda_that_torch_is_built_for(
    gpu_host: Host, driver: str, cuda: str, verdict: Verdict
) -> None:
    gpu_host.says(head=HEADS[driver])
    gpu_host.builds_for(cuda)

    found = {finding.check: finding for finding in devices.check(ASKED)}

    assert found["driver"].verdict is verdict
    assert driver in found["driver"].found


def test_a_driver_that_does_not_tell_its_version_is_a_warning(gpu_host: Host) -> None:
    gpu_host.says(head="")

    assert verdicts(devices.check(ASKED))["driver"] is Verdict.WARNING


def test_a_gpu_that_others_use_has_no_room_for_an_engine(gpu_host: Host) -> None:
    gpu_host.says(used=20_000)

    assert verdicts(devices.check(ASKED))["gpu memory"] is Verdict.WARNING
    lower = replace(ASKED, engine=Engine(gpu_memory_utilization=0.8))
    assert verdicts(devices.check(lower))["gpu memory"] is Verdict.OK


def test_memory_that_the_driver_does_not_tell_is_no_fault(gpu_host: Host) -> None:
    gpu_host.says(used="[N/A]")

    assert "gpu memory" not in verdicts(devices.check(ASKED))


def test_no_engine_is_a_failure_of_a_worker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.environment.find_spec", lambda _: None)

    assert verdicts(engine.check(ASKED)) == {"engine": Verdict.FAILURE}
    assert verdicts(engine.check(replace(ASKED, role=None))) == {"engine": Verdict.WARNING}


def test_fewer_gpus_than_an_engine_is_to_span_fail(gpu_host: Host) -> None:
    gpu_host.says(gpus=1)

    (finding,) = devices.check(replace(ASKED, engine=Engine(tensor_parallel_size=2)))

    assert finding.verdict is Verdict.FAILURE
    assert "1 GPUs for --tensor-parallel-size 2" in str(finding)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo NVIDIA-SMI has failed; exit 9", "lists no GPU here; it says: NVIDIA-SMI has failed"),
        ("exec sleep 1000", "the driver hangs"),
    ],
)
def test_a_driver_that_fails_or_hangs_is_said(gpu_host: Host, script: str, words: str) -> None:
    gpu_host.does(script)

    with pytest.raises(ContextVQAError, match=words):
        list(devices.check(replace(ASKED, timeout_s=1.0)))


def test_gpus_beside_the_cpu_worker_are_worth_a_word(
    gpu_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_host.says(gpus=4)
    monkeypatch.setattr(devices, "is_cpu_build", lambda: True)

    (finding,) = devices.check(ASKED)

    assert finding.verdict is Verdict.WARNING
    assert "no GPU is used: the CPU worker" in finding.found
    assert "4 GPUs" in finding.expected


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model's directory, with links that a test may remove."""
    directory = tmp_path / "model"
    directory.mkdir()
    for path in (FLAGS / "model").iterdir():
        (directory / path.name).symlink_to(path)
    return directory


def of_model(directory: Path) -> Asked:
    return replace(ASKED, model=Model(model=str(directory)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_model_that_lacks_a_file_fails(directory: Path, name: str, words: str) -> None:
    assert verdicts(model.check(of_model(directory))) == {"model": Verdict.OK}

    (directory / name).unlink()

    (finding,) = model.check(of_model(directory))
    assert finding.verdict is Verdict.FAILURE
    assert words in finding.found


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (b'{"weight_map": {"a": "model.safetensors", "b": "two.safetensors"}}', "two.safetensors"),
        (b'{"weight_map": [', "readable model.safetensors.index.json"),
    ],
)
def test_weights_in_several_files_must_all_be_there(
    directory: Path, index: bytes, words: str
) -> None:
    (directory / model.INDEX).write_bytes(index)

    (finding,) = model.check(of_model(directory))

    assert finding.verdict is Verdict.FAILURE
    assert finding.found.endswith(words)


@pytest.mark.parametrize("name", ["./away", "/nowhere/model", "model", "a/b/c"])
def test_what_can_only_be_a_directory_must_be_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    (finding,) = model.check(replace(ASKED, model=Model(model=name)))

    assert finding.verdict is Verdict.FAILURE
    assert f"no directory {name}" in finding.found


def test_a_model_of_the_hub_is_found_in_the_cache_or_said_to_be_fetched(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415 - takes half a second

    asked = replace(ASKED, model=Model(model="some/model"))
    cache = tmp_path / "hub"
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(cache))

    assert verdicts(model.check(asked))["model"] is Verdict.WARNING
    assert "model cache" in verdicts(model.check(asked))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert verdicts(model.check(asked)) == {"model": Verdict.FAILURE}

    snapshots = cache / "models--some--model" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / ("0" * 40)).symlink_to(directory)
    (snapshots.parent / "refs").mkdir()
    (snapshots.parent / "refs" / "main").write_text("0" * 40)
    assert verdicts(model.check(asked)) == {"model": Verdict.OK}
    (directory / "model.safetensors").unlink()
    assert verdicts(model.check(asked)) == {"model": Verdict.FAILURE}

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert verdicts(model.check(asked))["model"] is Verdict.WARNING


@pytest.mark.parametrize("name", ["model.gguf", "s3://bucket/model"])
def test_a_model_in_one_file_or_elsewhere_is_left_to_vllm(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").touch()

    assert verdicts(model.check(replace(ASKED, model=Model(model=name)))) == {"model": Verdict.OK}


def context_at(asked: Asked, **engine_options: Any) -> Finding:
    (finding,) = context.check(replace(asked, engine=Engine(**engine_options)))
    return finding


def test_the_context_says_how_many_pixels_an_image_may_have() -> None:
    finding = context_at(ASKED, max_model_len=1024)

    assert finding.verdict is Verdict.OK
    # The flags model takes no more; its prompt has 156 tokens, the system's and the template's come to it.
    assert "an image may have 12,544 pixels" in finding.found
    assert "some 19" in finding.found


@pytest.mark.parametrize(
    ("engine_options", "words"),
    [
        ({"max_model_len": 700}, "shorten the prompt, or change --max-tokens or --max-model-len"),
        ({"max_model_len": 790, "max_images": 8}, "to 8 images"),
        ({"max_model_len": 1 << 20}, "at most 4,096, which the model is made for"),
    ],
)
def test_a_context_that_leaves_no_room_or_is_longer_than_the_models_fails(
    engine_options: dict[str, Any], words: str
) -> None:
    finding = context_at(ASKED, **engine_options)

    assert finding.verdict is Verdict.FAILURE
    assert words in str(finding)


@pytest.mark.parametrize(
    ("changes", "engine_options"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ()),
        ({}, ('hf_overrides={"max_position_embeddings": 8192}',)),
    ],
)
def test_a_context_that_is_stretched_is_left_to_vllm(
    directory: Path, changes: dict[str, Any], engine_options: tuple[str, ...]
) -> None:
    config = orjson.loads((directory / "config.json").read_bytes())
    (directory / "config.json").unlink()
    (directory / "config.json").write_bytes(orjson.dumps(config | changes))

    finding = context_at(of_model(directory), max_model_len=8192, engine=engine_options)

    assert finding.verdict is Verdict.OK


def test_a_tokenizer_that_cannot_be_read_is_a_warning(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer.json").write_text("{")

    assert verdicts(context.check(of_model(directory))) == {"context": Verdict.WARNING}


def test_a_processor_is_read_with_the_overrides_that_the_engine_gets(directory: Path) -> None:
    kwargs = orjson.dumps({"max_pixels": 6272}).decode()

    finding = context_at(of_model(directory), engine=(f"mm_processor_kwargs={kwargs}",))

    assert "an image may have 6,272 pixels" in finding.found


@pytest.mark.parametrize(("size", "verdict"), [(1, Verdict.WARNING), (2, Verdict.FAILURE)])
def test_little_shared_memory_is_too_little_for_an_engine_on_several_gpus(
    monkeypatch: pytest.MonkeyPatch, size: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _: True)
    monkeypatch.setattr(host, "is_cpu_build", lambda: False)
    # What Docker gives a container.
    shm = SimpleNamespace(f_bavail=1 << 14, f_frsize=1 << 12)
    monkeypatch.setattr("worker.doctor.host.os.statvfs", lambda _: shm)

    found = {
        finding.check: finding
        for finding in host.check(replace(ASKED, engine=Engine(tensor_parallel_size=size)))
    }

    assert found["shared memory"].verdict is verdict
    assert "shm_size" in found["shared memory"].remedy


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Have no right that root has."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    yield
    os.setresuid(0, 0, 0)


@pytest.mark.usefixtures("as_nobody")
def test_images_that_this_user_may_not_read_fail() -> None:
    # Not below pytest's directories, which are its user's alone.
    with TemporaryDirectory() as directory:
        closed = Path(directory, "closed")
        closed.mkdir(mode=0o000)

        found = verdicts(host.check(replace(ASKED, images=Images(image_root=closed))))

    assert found["images"] is Verdict.FAILURE
