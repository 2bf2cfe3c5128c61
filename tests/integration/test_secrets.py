"""A password is told to the server and to nobody else, whatever goes wrong."""

import base64
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import redis

from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.roles import Role
from tests.integration.stand_in import BAD, ONCE, generate
from tests.support import clean_environment, contextvqa, set_password, url_for, wait_until

SECRET = "open/barley:@%"
#: How it may be written: as it is, in a URL, and in a header of a browser.
FORMS = (SECRET, quote(SECRET, safe=""), base64.b64encode(f"me:{SECRET}".encode()).decode())

#: Makes every logger of a process print all it has to say.
LOUD = "import logging; logging.basicConfig(level=logging.DEBUG)"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server whose users have the password."""
    with EmbeddedServer(tmp_path / "redis") as server:
        set_password(server.url, SECRET)
        yield server


class Witness:
    """Runs commands that know the password, and keeps all that is seen of them."""

    def __init__(self, directory: Path, way: str) -> None:
        self.directory = directory
        self.way = way
        self.seen: dict[str, str] = {}
        (directory / "loud").mkdir()
        (directory / "loud" / "sitecustomize.py").write_text(LOUD)
        (directory / "password").write_text(SECRET + "\n")

    def environment(self, url: str) -> dict[str, str]:
        """Return the environment of a command: how it gets the password is our way."""
        variables = clean_environment()
        variables["PYTHONPATH"] += f":{self.directory / 'loud'}"
        variables["CONTEXTVQA_RUNS_DIR"] = str(self.directory / "runs")
        if self.way == "url":
            url = url.replace("@", f":{quote(SECRET, safe='')}@")
        else:
            variables["CONTEXTVQA_REDIS_PASSWORD_FILE"] = str(self.directory / "password")
        return variables | {"CONTEXTVQA_REDIS_URL": url}

    def run(self, server: str, *arguments: object) -> int:
        """Run a command to its end; return its exit code."""
        done = subprocess.run(
            contextvqa(*arguments),
            env=self.environment(url_for(str(arguments[0]), server)),
            capture_output=True,
            text=True,
            check=False,
        )
        self.seen[f"{arguments}"] = done.stdout + done.stderr
        return done.returncode

    def start(self, server: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a command; what it says goes to a file."""
        with (self.directory / f"{arguments[0]}.log").open("wb") as log:
            return subprocess.Popen(
                contextvqa(*arguments),
                env=self.environment(url_for(str(arguments[0]), server)),
                stdout=log,
                stderr=log,
            )

    def assert_nothing_is_told(self) -> None:
        """Compare all that was seen, and all files that were written, with the password."""
        for path in self.directory.rglob("*"):
            if path.is_file() and path.name not in {"password", "users.acl"}:
                self.seen[str(path)] = path.read_bytes().decode(errors="replace")
        told = {place for place, text in self.seen.items() if any(form in text for form in FORMS)}
        assert told == set()


def processes(process: subprocess.Popen[bytes]) -> str:
    """Return what `ps` shows of a process and of those that it started."""
    own = psutil.Process(process.pid)
    return "\n".join(" ".join(each.cmdline()) for each in (own, *own.children(recursive=True)))


def contents(connection: redis.Redis) -> str:
    """Return all that a server holds, and what it says of its connections."""
    keys = sorted(connection.scan_iter())
    dumps = [repr((key, connection.dump(key))) for key in keys]
    hashes = [str(connection.hgetall(key)) for key in keys if connection.type(key) == b"hash"]
    return "\n".join([*dumps, *hashes, str(connection.client_list())])


@pytest.mark.parametrize("way", ["url", "file"])
def test_no_command_tells_the_password(
    own_server: EmbeddedServer, tmp_path: Path, way: str
) -> None:
    # Given commands that know it, as loud as can be
    witness = Witness(tmp_path, way)
    source = tmp_path / "in.jsonl"
    source.write_text('{"image": "a.png"}\n')
    url, elsewhere = own_server.url, "redis://127.0.0.1:1/0"
    codes = {}

    # When a run goes all its way, with daemons at work
    codes["enqueue"] = witness.run(url, "enqueue", source, "--run", "r", *ONCE)
    with connect(url) as connection, witness.start(url, "refiner") as refiner:
        generate(connection, lambda _: BAD)
        codes["wait"] = witness.run(url, "wait", "r", "--max-rejects", "100%")
        codes["status"] = witness.run(url, "status", "r")
        codes["audit"] = witness.run(url, "audit", "r")
        witness.seen["ps of the refiner"] = processes(refiner)
        with witness.start(
            url, "dashboard", "--port", 0, "--password-file", tmp_path / "password"
        ) as dashboard:
            witness.seen["pages"] = look_at_pages(tmp_path / "dashboard.log")
            witness.seen["ps of the dashboard"] = processes(dashboard)
            dashboard.terminate()
        witness.seen["redis"] = contents(connection)
        # And when the server denies what it allowed before
        connection.acl_setuser(Role.REFINER, enabled=True, reset_keys=True)
        codes["refiner"] = refiner.wait(60)

    # And when there is no server, or one that wants another password
    codes["no server"] = witness.run(elsewhere, "enqueue", source, "--run", "r")
    set_password(url, "other")
    codes["wrong password"] = witness.run(url, "enqueue", source, "--run", "r")

    # Then each did what it should, and nobody was told
    assert codes == dict.fromkeys(codes, 0) | {"refiner": 3, "no server": 3, "wrong password": 3}
    assert "DEBUG" in (tmp_path / "refiner.log").read_text()
    assert 'class="' in witness.seen["pages"]
    witness.assert_nothing_is_told()


def look_at_pages(log: Path) -> str:
    """Return what the dashboard shows a browser that knows the password."""
    wait_until(lambda: "http://" in log.read_text())
    (url,) = [word for word in log.read_text().split() if word.startswith("http://")]
    shown = []
    for path in ("0/view/queues", "0/view/workers", "0/data/queues.json", "0/data/workers.json"):
        request = urllib.request.Request(url + path, headers={"Authorization": f"Basic {FORMS[2]}"})
        with urllib.request.urlopen(request) as response:
            shown.append(response.read().decode())
    return "\n".join(shown)
