"""
Run tests on two hosts: `python -m tests.across_hosts [PYTEST ARGUMENT]...`.

The tests themselves are on one host, the server is on the other, and commands are on both in turn.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hosts import network, server_on
from tests.second_host import PROCESS, SERVER


def main(arguments: Sequence[str]) -> int:
    """Return the exit code of pytest."""
    with (
        TemporaryDirectory() as directory,
        network(Path(directory), "east", "west") as (east, west),
        server_on(east, Path(directory) / "redis") as (url, _),
    ):
        command = west.command(sys.executable, "-m", "pytest", *arguments)
        environment = os.environ | {PROCESS: str(east.child.pid), SERVER: url}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
