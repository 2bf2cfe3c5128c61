"""What the import rules cannot see: the command table names its targets as strings."""

import subprocess
import sys

import pytest

from contextvqa.cli import COMMANDS

#: A base install has none of these; None in sys.modules makes Python say so.
EXTRAS = (
    *("pyvips", "vllm", "torch", "torchvision", "transformers"),
    *("flask", "rq_dashboard", "waitress"),
)

HELP = f"""
import sys
sys.modules.update(dict.fromkeys({EXTRAS!r}))
from contextvqa.cli import main
sys.exit(main([sys.argv[1], "--help"]))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help_on_a_base_install(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, command], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"contextvqa {command}" in done.stdout
