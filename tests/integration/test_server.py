"""The embedded server, with real servers in temporary directories."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from contextvqa.errors import UnavailableError
from contextvqa.processes import server, server_program
from contextvqa.processes.server import EmbeddedServer
from contextvqa.processes.server_program import find_server
from contextvqa.processes.server_socket import running_url

#: Starts a server and dies without stopping it, as a caller under `kill -9` does.
KILLED_CALLER = """
import os, signal, sys
from pathlib import Path
from contextvqa.processes.server import EmbeddedServer
EmbeddedServer(Path(sys.argv[1])).start()
os.kill(os.getpid(), signal.SIGKILL)
"""

OLD_SERVER = (
    "#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n"
)


STRICT_SERVER = """#!/bin/sh
if [ "$1" != --version ] && [ "$LC_ALL" = xx_XX.UTF-8 ]; then
    echo "Failed to configure LOCALE for invalid locale name."
    exit 1
fi
exec "{program}" "$@"
"""


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def ask(url: str, *command: str | int) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def pid_of(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def sync(url: str) -> None:
    """Return once all writes so far are in the synced append-only file."""
    with redis.Redis.from_url(url) as client:
        client.incr("synced")
        assert client.execute_command("WAITAOF", 1, 0, 0)[0] == 1


def leave_an_orphan(directory: Path) -> str:
    done = subprocess.run([sys.executable, "-c", KILLED_CALLER, str(directory)], check=False)
    assert done.returncode == -signal.SIGKILL
    url = running_url(directory)
    assert url is not None
    return url


def install(directory: Path, name: str, program: str | Path) -> None:
    """Put a program under this name into a PATH directory: a script's text, or a link."""
    directory.mkdir(exist_ok=True)
    if isinstance(program, Path):
        (directory / name).symlink_to(program)
    else:
        (directory / name).write_text(program)
        (directory / name).chmod(0o755)


@pytest.fixture(autouse=True)
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty directory the whole PATH, so that all machines test the same server."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Name the server's directory, and see that no server outlives the test."""
    path = tmp_path / "runs" / "demo" / "redis"
    yield path
    EmbeddedServer(path).stop()
    assert running_url(path) is None


def test_it_answers_inside_the_context_and_is_gone_after_it(directory: Path) -> None:
    with EmbeddedServer(directory) as embedded:
        assert ask(embedded.url, "PING") is True
        assert running_url(directory) == embedded.url
        pid = pid_of(embedded.url)

    assert running_url(directory) is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_keeps_all_writes_never_evicts_and_opens_no_port(directory: Path) -> None:
    with (
        EmbeddedServer(directory) as embedded,
        redis.Redis.from_url(embedded.url, decode_responses=True) as client,
    ):
        names = ("appendonly", "appendfsync", "maxmemory-policy", "save", "port", "daemonize")
        options = client.config_get(*names)

    assert options == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
        "daemonize": "no",
    }


def test_only_this_user_may_reach_it(directory: Path) -> None:
    with EmbeddedServer(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "redis.sock").stat().st_mode) == 0o700


def test_data_survive_stop_and_start(directory: Path) -> None:
    with EmbeddedServer(directory) as embedded:
        ask(embedded.url, "SET", "record", "7")

    with EmbeddedServer(directory) as embedded:
        assert ask(embedded.url, "GET", "record") == "7"


def test_synced_data_survive_a_killed_server_and_its_stale_socket(directory: Path) -> None:
    with EmbeddedServer(directory) as embedded:
        ask(embedded.url, "SET", "record", "7")
        sync(embedded.url)
        os.kill(pid_of(embedded.url), signal.SIGKILL)
        wait_until(lambda: running_url(directory) is None)
    assert (directory / "redis.sock").exists()

    with EmbeddedServer(directory) as embedded:
        assert ask(embedded.url, "GET", "record") == "7"


def test_a_server_cut_off_inside_a_write_starts_again(directory: Path) -> None:
    with EmbeddedServer(directory) as embedded:
        ask(embedded.url, "SET", "record", "7")
    [log] = (directory / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$6\r\nrec")

    with EmbeddedServer(directory) as embedded:
        assert ask(embedded.url, "GET", "record") == "7"


def test_the_server_of_a_killed_caller_is_adopted_and_stopped(directory: Path) -> None:
    orphan = pid_of(leave_an_orphan(directory))

    with EmbeddedServer(directory) as embedded:
        assert pid_of(embedded.url) == orphan

    assert running_url(directory) is None


def test_an_adopted_server_syncs_its_data_when_it_is_stopped(directory: Path) -> None:
    ask(leave_an_orphan(directory), "SET", "record", "7")
    with EmbeddedServer(directory):
        pass

    with EmbeddedServer(directory) as embedded:
        assert ask(embedded.url, "GET", "record") == "7"


def test_of_many_that_start_at_once_one_starts_and_the_others_adopt(directory: Path) -> None:
    servers = [EmbeddedServer(directory) for _ in range(6)]
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(EmbeddedServer.start, servers))
    try:
        assert len({pid_of(embedded.url) for embedded in servers}) == 1
        assert sum(embedded._process is not None for embedded in servers) == 1
    finally:
        for embedded in servers:
            embedded.stop()


def test_a_second_server_never_shares_the_data_of_one_it_cannot_reach(directory: Path) -> None:
    """The lock is the server's own: it holds though the caller is dead and the socket is lost."""
    url = leave_an_orphan(directory)
    orphan = pid_of(url)
    (directory / "redis.sock").rename(directory / "moved.sock")
    try:
        with pytest.raises(UnavailableError, match=r"lock does not answer PING .*silence"):
            EmbeddedServer(directory, start_timeout_s=0.2).start()
    finally:
        (directory / "moved.sock").rename(directory / "redis.sock")

    assert pid_of(url) == orphan


def test_loading_may_take_longer_than_the_start_timeout(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        EmbeddedServer(directory) as embedded,
        redis.Redis.from_url(embedded.url) as client,
        client.pipeline(transaction=False) as pipe,
    ):
        for number in range(12_000):
            pipe.set(f"key:{number}", number)
        pipe.execute()
    monkeypatch.setitem(server.OPTIONS, "key-load-delay", "100")

    began = time.monotonic()
    with EmbeddedServer(directory, start_timeout_s=0.5) as embedded:
        assert time.monotonic() - began > 0.5
        assert ask(embedded.url, "DBSIZE") == 12_000


def test_the_terminal_s_ctrl_c_does_not_reach_it(directory: Path) -> None:
    with EmbeddedServer(directory) as embedded:
        pid = pid_of(embedded.url)
        assert os.getsid(pid) == pid
        assert os.getsid(pid) != os.getsid(0)


def test_a_server_that_does_not_end_in_time_is_killed(directory: Path) -> None:
    embedded = EmbeddedServer(directory, stop_timeout_s=0.1)
    embedded.start()
    os.kill(pid_of(embedded.url), signal.SIGSTOP)

    embedded.stop()

    assert running_url(directory) is None


def test_stop_without_a_server_has_no_effect(directory: Path) -> None:
    EmbeddedServer(directory).stop()

    assert not directory.exists()


def test_a_failed_start_says_the_server_s_last_words(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.OPTIONS, "no-such-option", "yes")
    with pytest.raises(UnavailableError, match="ended at once: Bad directive"):
        EmbeddedServer(directory).start()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"cannot start: .*Not a directory"):
        EmbeddedServer(tmp_path / "file" / "redis").start()


def test_ctrl_c_during_the_start_leaves_no_server(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = EmbeddedServer(directory)
    started: list[subprocess.Popen[bytes]] = []

    def interrupt(*_args: object) -> bytes:
        if embedded._process is None:
            return b""
        started.append(embedded._process)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(server, "ask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            embedded.start()

    assert started[0].returncode is not None


def test_a_locale_that_is_not_installed_is_no_obstacle(
    directory: Path, bin_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis 7.2 and later end at once under such a locale; the packaged Valkey only warns."""
    install(bin_directory, "redis-server", STRICT_SERVER.format(program=find_server()))
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")

    with EmbeddedServer(directory) as embedded:
        assert ask(embedded.url, "PING") is True


@pytest.mark.parametrize("name", ["with space", "100%", "what?", "#1", 'quo"te', "ä"])
def test_any_run_name_makes_a_url_that_redis_reads(tmp_path: Path, name: str) -> None:
    with EmbeddedServer(tmp_path / name / "redis") as embedded:
        assert ask(embedded.url, "PING") is True


@pytest.fixture
def long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Name a directory whose socket has to go elsewhere: into a temporary one of the test's."""
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield tmp_path / ("long" * 30) / "redis"


def test_a_path_too_long_for_a_socket_goes_to_a_private_directory(long_directory: Path) -> None:
    with EmbeddedServer(long_directory) as embedded:
        assert ask(embedded.url, "PING") is True
        assert running_url(long_directory) == embedded.url
        place = Path(tempfile.gettempdir()) / f"contextvqa-{os.getuid()}"
        assert embedded.url.startswith(f"unix://{place}/")
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert [path.suffix for path in place.iterdir()] == [".sock"]

    assert (long_directory / "appendonlydir").is_dir()


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_socket_directory_that_is_not_private_is_refused(
    long_directory: Path, tmp_path: Path, kind: str
) -> None:
    place = Path(tempfile.gettempdir()) / f"contextvqa-{os.getuid()}"
    if kind == "open to others":
        place.mkdir()
        place.chmod(0o777)
    elif kind == "a link":
        place.symlink_to(tmp_path)
    else:
        place.touch(mode=0o600)

    with pytest.raises(UnavailableError, match="directory of this user alone"):
        EmbeddedServer(long_directory)
    with pytest.raises(UnavailableError, match="directory of this user alone"):
        running_url(long_directory)


def test_a_server_on_path_comes_before_the_packaged_one(bin_directory: Path) -> None:
    packaged = find_server()
    install(bin_directory, "redis-server", packaged)
    assert find_server() == bin_directory / "redis-server"
    install(bin_directory, "valkey-server", packaged)
    assert find_server() == bin_directory / "valkey-server"


def test_an_old_server_on_path_is_passed_over(bin_directory: Path) -> None:
    packaged = find_server()
    install(bin_directory, "redis-server", OLD_SERVER)

    assert find_server() == packaged


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "no program"])
def test_a_server_that_does_not_tell_its_version_is_passed_over(
    bin_directory: Path, text: str
) -> None:
    packaged = find_server()
    install(bin_directory, "valkey-server", text)

    assert find_server() == packaged


def test_without_any_server_the_message_says_what_to_do(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_program, "find_spec", lambda _name: None)
    with pytest.raises(UnavailableError) as caught:
        EmbeddedServer(directory).start()

    message = str(caught.value)
    assert "pip install 'contextvqa[local]'" in message
    assert "--redis-url" in message
    assert "\n" not in message
