"""Environments of peers: each program's own, made of the dependencies that it names at its head."""

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contextvqa.errors import UnavailableError
from contextvqa.progress import say

#: Inline script metadata, as PEP 723 defines it.
METADATA = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
#: What `refiner.parser.parsing` needs: the same for all, so that parsing costs all the same.
PARSER_NEEDS = ("msgspec", "orjson")
#: A download that hangs must not hold up the others.
INSTALL_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What a program says of itself at its head."""

    dependencies: tuple[str, ...]
    num_records: int

    @classmethod
    def read(cls, program: Path) -> "Metadata":
        """Read it."""
        match = METADATA.search(program.read_text("utf-8"))
        if match is None:
            raise ValueError(f"{program} has no inline script metadata")
        lines = match["content"].splitlines()
        content: dict[str, Any] = tomllib.loads("\n".join(line[2:] for line in lines))
        return cls(
            dependencies=tuple(content["dependencies"]),
            num_records=content["tool"]["benchmark"]["num_records"],
        )


def environment_of(name: str, dependencies: tuple[str, ...], directory: Path) -> Path:
    """
    Return the Python that has the dependencies: ours where there are none, else its own.

    Args:
        directory: Where environments are kept from run to run.

    Raises:
        UnavailableError: They cannot be installed.

    """
    if not dependencies:
        return Path(sys.executable)
    wanted = [*dependencies, *(f"{need}=={version(need)}" for need in PARSER_NEEDS)]
    environment = directory / name
    python = environment / "bin" / "python"
    installed = environment / "installed.txt"
    content = "\n".join([sys.version, *wanted])
    if not installed.exists() or installed.read_text("utf-8") != content:
        say(f"installing {', '.join(dependencies)}")
        shutil.rmtree(environment, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(environment)])
        _call(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        )
        installed.write_text(content, "utf-8")
    return python


def _call(command: list[str]) -> None:
    try:
        subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"not installed within {INSTALL_TIMEOUT_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        raise UnavailableError(f"cannot be installed: {(lines or [error.stderr])[-1]}") from error
