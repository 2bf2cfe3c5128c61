"""
Hosts on one machine: names, addresses and a network of their own, and cables that can be pulled.

Each host is a network and a host name namespace that a child holds; another one holds the bridge
between them. Nothing of it is seen from outside, and all of it ends with these children, which end
when we do. Files, process ids and clocks are those of the machine.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from contextvqa.processes.server_program import find_server
from contextvqa.queueing.roles import users_acl
from tests import namespaces
from tests.faults.processes import Child, fork
from tests.faults.tally import Tally
from tests.support import wait_until

PORT = 6379
#: What an operator writes into the server's configuration, and what a test needs besides.
PASSWORD = "between-hosts"
USERS = users_acl(f"on >{PASSWORD} ~* &* +@all", lambda _: f">{PASSWORD}")
CONFIG = f"bind {{address}}\n{USERS}appendonly yes\n"
OURS = """
port {port}
unixsocket {socket}
dir {directory}
save ""
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """One host of a network, kept alive by its child."""

    name: str
    address: str
    child: Child
    #: The child with the other ends of all cables.
    switch: Child

    def enter(self) -> None:
        """Enter it, as a patch of a child."""
        namespaces.enter(self.child.pid, namespaces.OF_HOST)

    def command(self, *words: object) -> list[str]:
        """Return the command line that runs a command on it."""
        return namespaces.inside(self.child.pid, namespaces.OF_HOST, *words)

    def cut_off(self) -> None:
        """Pull the cable."""
        _run(self.switch, "ip", "link", "set", self.name, "down")

    def plug_in(self) -> None:
        """Plug it in again."""
        _run(self.switch, "ip", "link", "set", self.name, "up")


@contextmanager
def network(directory: Path, *names: str) -> Iterator[list[Host]]:
    """Make hosts that reach one another; the logs of their children go to `directory`."""
    assert shutil.which("ip"), "no `ip`, which connects the hosts: apt install iproute2"
    with ExitStack() as stack:

        def hold(name: str, begin: Callable[[], None]) -> Child:
            ready = Tally()
            child = fork(name, partial(_hold, begin, ready), directory / f"{name}.log")
            stack.callback(child.kill)
            wait_until(lambda: ready.value or not child.is_alive())
            assert child.is_alive(), f"cannot make namespaces; root can:\n{child.words()}"
            return child

        switch = hold("switch", partial(namespaces.unshare, namespaces.FLAGS_OF_HOST))
        _run(switch, "ip", "link", "add", "switch", "type", "bridge")
        _run(switch, "ip", "link", "set", "switch", "up")
        hosts = []
        for number, name in enumerate(names, start=1):
            child = hold(name, partial(_become_host, name, switch.pid))
            host = Host(name=name, address=f"10.0.0.{number}", child=child, switch=switch)
            _lay_cable(host)
            hosts.append(host)
        yield hosts


@contextmanager
def server_on(host: Host, directory: Path, config: str = CONFIG) -> Iterator[tuple[str, str]]:
    """Run a server on a host. Yield its URL for hosts, and the one for us, if `config` is ours."""
    directory.mkdir()
    socket, log = directory / "redis.sock", directory / "redis.log"
    config = config.replace("{address}", host.address)
    config += OURS.format(port=PORT, socket=socket, directory=directory)
    # Not even a killed test run leaves it behind.
    command = host.command("setpriv", "--pdeathsig", "KILL", find_server(), "-")
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            # Redis 7.2 and later end at once under a locale that is not installed.
            env=os.environ | {"LC_ALL": "C"},
        )
    url = f"redis://:{PASSWORD}@{host.address}:{PORT}/0"
    url_of_socket = f"unix://:{PASSWORD}@{socket}"
    with process:
        try:
            assert process.stdin is not None
            process.stdin.write(config.encode())
            process.stdin.close()
            wait_until(lambda: process.poll() is not None or _answers(url_of_socket))
            assert process.poll() is None, log.read_text()
            yield url, url_of_socket
        finally:
            process.kill()


def _hold(begin: Callable[[], None], ready: Tally) -> int:
    begin()
    ready.value = 1
    return len(os.read(0, 1))  # returns when whoever forked us is gone


def _become_host(name: str, switch: int) -> None:
    namespaces.enter(switch, [])
    namespaces.unshare(namespaces.FLAGS_OF_HOST)
    namespaces.check(namespaces.LIBC.sethostname(name.encode(), len(name)))


def _lay_cable(host: Host) -> None:
    cable = ["link", "add", host.name, "type", "veth", "peer", "name", "eth0"]
    _run(host.switch, "ip", *cable, "netns", host.child.pid)
    _run(host.switch, "ip", "link", "set", host.name, "master", "switch", "up")
    _run(host.child, "ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _run(host.child, "ip", "link", "set", device, "up")


def _run(child: Child, *command: object) -> None:
    line = namespaces.inside(child.pid, namespaces.OF_HOST, *command)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as connection:
            return bool(connection.ping())
    except redis.AuthenticationError:
        return True
    except redis.ConnectionError:
        return False
