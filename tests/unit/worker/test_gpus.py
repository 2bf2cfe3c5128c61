"""Which GPUs `--gpus` names, with a driver's list in the words of `nvidia-smi -L`."""

from pathlib import Path

import pytest

from contextvqa.errors import UnavailableError, UsageError
from worker import gpus
from worker.gpus import choose, environment_of

WHOLE = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-7f57f032-34ab-a064-c37c-7a4f75601cc5)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-8c7c9c30-f12f-20bf-e14e-d3c4c965af32)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-8c11aa02-0000-20bf-e14e-d3c4c965af32)
"""
SPLIT = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-7f57f032-34ab-a064-c37c-7a4f75601cc5)
  MIG 2g.20gb     Device  0: (UUID: MIG-377e0049-554c-540b-93c6-d0976f8426cb)
  MIG 1g.10gb     Device  1: (UUID: MIG-f39aa248-6f1b-5769-b119-8d650bb34b27)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-8c7c9c30-f12f-20bf-e14e-d3c4c965af32)
"""
#: One GPU of two no longer answers.
FALLEN = """\
Unable to determine the device handle for GPU 0000:41:00.0: Unknown Error
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-8c7c9c30-f12f-20bf-e14e-d3c4c965af32)
"""


class Driver:
    """A program in place of nvidia-smi."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program = directory / "nvidia-smi"
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(gpus, "LIST_COMMAND", (str(self.program), "-L"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def lists(self, text: str, *, code: int = 0, visible: str | None = None) -> None:
        """Let it list this, and a scheduler let us see no more than `visible`."""
        self.program.write_text(
            f'#!/bin/sh\n[ "$1" = -L ] || exit 9\ncat <<"."\n{text}.\nexit {code}\n'
        )
        self.program.chmod(0o755)
        if visible is not None:
            self._monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("all", "0,1,2"),
        ("2,0", "2,0"),
        (" 1 , 2 ", "1,2"),
        ("GPU-8c7c9c30-f12f-20bf-e14e-d3c4c965af32", "1"),
        ("GPU-8c11,0", "2,0"),
    ],
)
def test_numbers_and_uuids_name_gpus_in_the_order_given(
    driver: Driver, words: str, seen: str
) -> None:
    driver.lists(WHOLE)

    assert environment_of(choose(words)) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": seen,
    }


@pytest.mark.parametrize("word", ["3", "-1", "", "GPU-", "GPU-8c", "00", "9" * 5000, "gpu0", "²"])
def test_what_names_no_gpu_or_several_is_refused_with_what_there_is(
    driver: Driver, word: str
) -> None:
    driver.lists(WHOLE)

    with pytest.raises(UsageError) as refusal:
        choose(f"0,{word}")

    assert str(refusal.value).startswith(f"--gpus names {word!r}, which is no GPU")
    assert "there are 0 (GPU-7f57f032-" in str(refusal.value)


@pytest.mark.parametrize("words", ["1,1", "1,GPU-8c7c"])
def test_a_gpu_that_is_named_twice_is_refused(driver: Driver, words: str) -> None:
    driver.lists(WHOLE)

    with pytest.raises(UsageError, match="--gpus names GPU 1 twice"):
        choose(words)


@pytest.mark.parametrize(
    ("visible", "seen"), [("2,0", "2,0"), ("GPU-8c7c,0", "1,0"), ("1,-1,2", "1"), ("0,0", "0")]
)
def test_all_is_what_whoever_started_us_lets_us_see(
    driver: Driver, visible: str, seen: str
) -> None:
    driver.lists(WHOLE, visible=visible)

    assert environment_of(choose("all"))["CUDA_VISIBLE_DEVICES"] == seen


def test_a_gpu_that_is_hidden_from_us_is_refused(driver: Driver) -> None:
    driver.lists(WHOLE, visible="1,2")

    with pytest.raises(UsageError, match=r"names '0', .*; there are 1 \(GPU-8c7c.*\), 2 \(GPU-"):
        choose("0")


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", "7"])
def test_no_gpu_that_we_may_see_is_said_with_the_variable(driver: Driver, visible: str) -> None:
    driver.lists(WHOLE, visible=visible)

    with pytest.raises(UnavailableError, match=f"CUDA_VISIBLE_DEVICES is '{visible}'"):
        choose("all")


def test_the_parts_of_a_split_gpu_stand_in_its_place(driver: Driver) -> None:
    driver.lists(SPLIT)

    chosen = choose("all")

    assert [gpu.name for gpu in chosen] == ["mig-377e0049", "mig-f39aa248", "gpu1"]
    assert environment_of(chosen[:1])["CUDA_VISIBLE_DEVICES"] == (
        "MIG-377e0049-554c-540b-93c6-d0976f8426cb"
    )
    with pytest.raises(UsageError, match="names '0', which is no GPU that can be used here"):
        choose("0")


def test_a_gpu_that_fell_off_the_bus_leaves_the_others(driver: Driver) -> None:
    driver.lists(FALLEN, code=14)

    assert [str(gpu) for gpu in choose("all")] == ["1"]


def test_a_driver_that_lists_nothing_is_quoted(driver: Driver) -> None:
    driver.lists("NVIDIA-SMI has failed\nbecause of this.\n", code=9)

    with pytest.raises(UnavailableError, match=r"it says: NVIDIA-SMI has failed because of this\."):
        choose("all")


@pytest.mark.usefixtures("driver")
def test_a_host_without_the_driver_is_said() -> None:
    with pytest.raises(UnavailableError, match="nvidia-smi, which comes with NVIDIA's driver"):
        choose("all")


def test_a_driver_that_hangs_is_not_waited_for(driver: Driver) -> None:
    driver.program.write_text("#!/bin/sh\nexec sleep 1000\n")
    driver.program.chmod(0o755)

    with pytest.raises(UnavailableError, match="the driver hangs"):
        choose("all", timeout_s=0.1)
