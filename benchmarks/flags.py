"""Images and a model for the benchmarks that run vLLM: those of examples/flags."""

import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT, python_command

MODEL = ROOT / "examples" / "flags" / "model"
#: Of the drawing: no picture that the model has been trained on.
SEED = 5


def draw(count: int, directory: Path) -> Path:
    """Return the input with so many images, drawn once; they stand in its directory."""
    directory = directory / f"flags-{count}"
    source = directory / "data.json"
    if not source.exists():  # it is written after the last image
        subprocess.run(  # noqa: S603 - our own script
            python_command(
                "examples.flags.drawing", str(directory), f"--count={count}", f"--seed={SEED}"
            ),
            cwd=ROOT,
            check=True,
            stdout=sys.stderr,
        )
    return source
