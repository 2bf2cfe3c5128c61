"""The wheel: what `pip install` of this project brings, and what it does not."""

import os
import subprocess
import sys
from collections.abc import Iterable
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"contextvqa", "producer", "worker", "refiner"}

HELP = """
import sys
import contextvqa
from contextvqa.cli import main

code = main(["--help"])
print(contextvqa.__file__)
print(*sorted({"vllm", "torch", "transformers", "redis", "PIL"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    done = subprocess.run(
        [*build, "--directory", directory], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [path] = directory.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with ZipFile(wheel) as file:
        return file.namelist()


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: Iterable[str]) -> Message:
    [name] = [name for name in names if name.endswith(".dist-info/METADATA")]
    with ZipFile(wheel) as file:
        return Parser().parsestr(file.read(name).decode())


def test_it_holds_the_four_packages_and_nothing_else(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_it_holds_every_file_of_a_package(names: list[str], package: str) -> None:
    files = [path for path in (ROOT / package).rglob("*") if path.is_file()]
    sources = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}

    assert f"{package}/py.typed" in sources
    assert {name for name in names if name.startswith(f"{package}/")} == sources


def test_it_brings_the_command(wheel: Path, names: list[str]) -> None:
    [name] = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    with ZipFile(wheel) as file:
        assert "contextvqa = contextvqa.cli:main" in file.read(name).decode()


def test_it_states_its_license_and_its_python(names: list[str], metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_base_install_needs_no_gpu_stack(metadata: Message) -> None:
    required = metadata.get_all("Requires-Dist", [])
    base = [line for line in required if "extra ==" not in line]

    assert any(line.startswith("redis") for line in base)
    assert not [line for line in base if line.startswith(("torch", "vllm", "transformers"))]


def test_the_list_of_commands_loads_no_stage(wheel: Path, tmp_path: Path) -> None:
    """Straight from the wheel: a file that it lacks cannot come from the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", HELP],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )

    *text, origin, loaded = done.stdout.split("\n")[:-1]
    assert "Usage: contextvqa" in text[0]
    assert origin.startswith(str(wheel))
    assert loaded == ""
