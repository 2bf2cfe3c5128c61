"""
The second host of a test run that `tests.across_hosts` has started; all others have none.

Commands go to both hosts in turn. They share a server, and a `run` gets a worker and a refiner on
the host that it is not on, as an operator would add them.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contextvqa.errors import UnavailableError
from contextvqa.options import environment_name
from tests import namespaces

#: Variables by which we know: a process of the other host, and the URL of the server.
PROCESS = "TESTS_OTHER_HOST"
SERVER = "TESTS_SERVER"

#: None where everything is on one host.
SERVER_URL = os.environ.get(SERVER)
#: What all commands find exported, as an operator would do it.
SETTINGS = {} if SERVER_URL is None else {environment_name("redis_url"): SERVER_URL}
#: What makes a command one of each host; that of the last command comes first.
_HOSTS: deque[list[str]] = deque([[]])
if SERVER_URL is not None:
    _HOSTS.append(namespaces.inside(int(os.environ[PROCESS]), namespaces.OF_HOST))
#: So few in flight on each host of a `run` that the first one ready cannot claim all there is.
_SHARE = {environment_name("max_in_flight"): "8"}

one_host = pytest.mark.skipif(SERVER_URL is not None, reason="is about the embedded server")


def in_turn(command: Sequence[object]) -> list[str]:
    """Return the command line that runs a command on the host whose turn it is."""
    _HOSTS.rotate(1)
    return [*_HOSTS[0], *map(str, command)]


@contextmanager
def helping(
    arguments: Sequence[object], environment: Mapping[str, str]
) -> Iterator[Mapping[str, str]]:
    """
    Help the command whose turn it is, if it is a `run`, on all other hosts. Yield its environment.

    Args:
        arguments: The command; a `run` has an INPUT, and then pairs of options and values.
        environment: Of the command, without what belongs to it among helpers.

    """
    others = list(_HOSTS)[1:] if arguments[0] == "run" else []
    environment = {**environment, **_SHARE} if others else environment
    with ExitStack() as stack:
        helpers = [
            stack.enter_context(helper)
            for host in others
            for helper in _helpers(host, arguments[2:], environment)
        ]
        yield environment
    # What a run cannot have, they cannot have either.
    assert {helper.returncode for helper in helpers} <= {0, UnavailableError.exit_code}


def _helpers(
    host: Sequence[str], options: Sequence[object], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a refiner and a worker with the settings of a run. They stop when stdin closes."""
    names = [str(name).removeprefix("--").replace("-", "_") for name in options[::2]]
    settings = dict(zip(names, map(str, options[1::2]), strict=True))
    # Given as a flag: by the variable tests find the processes of the run itself.
    runs_dir = Path(settings.pop("runs_dir"))
    variables = {environment_name(name): value for name, value in settings.items()}
    for name, *flags in (["refiner", "--runs-dir", str(runs_dir)], ["worker"]):
        with runs_dir.with_name(f"helping-{name}.log").open("ab") as log:
            yield subprocess.Popen(
                [*host, sys.executable, "-m", "contextvqa", name, *flags, "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**environment, **variables},
            )
