"""The supervisor with real processes: whatever ends a worker process, another one goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from contextvqa.errors import NoServerError, UnavailableError
from contextvqa.processes import children
from contextvqa.processes.children import Child
from contextvqa.processes.sessions import MARKER
from tests.integration.supervised import seen
from tests.support import clean_environment, wait_until

SCRIPT = [sys.executable, str(Path(__file__).with_name("supervised.py")), "supervised"]

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a supervisor; afterwards nothing of it may be left."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*SCRIPT, str(tmp_path), *map(str, arguments)],
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with process:  # closes its pipes, and waits
            process.terminate()
    for pid in all_pids(tmp_path):
        wait_until(lambda pid=pid: not is_alive(pid), 10)


def all_pids(directory: Path) -> list[int]:
    """Return all worker processes of all posts, and their engines."""
    places = [directory, *(path for path in directory.iterdir() if path.is_dir())]
    return [pid for place in places for name in ("worker", "engine") for pid in pids(place, name)]


def pids(directory: Path, name: str) -> list[int]:
    return [int(word) for word in seen(directory, name)]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_pulsing(directory: Path) -> bool:
    """Whether a worker process that handles SIGTERM itself is there."""
    workers = pids(directory, "worker")
    if not workers:
        return False
    try:
        status = Path(f"/proc/{workers[-1]}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.parametrize("word", ["loading-exit", "ready-exit"])
@pytest.mark.parametrize("code", [0, 2, 5, 130])
def test_an_end_that_another_worker_would_share_is_passed_on_without_a_word(
    start: Start, tmp_path: Path, word: str, code: int
) -> None:
    supervisor = start(f"{word}:{code}")

    _, said = supervisor.communicate()

    assert (supervisor.returncode, said) == (code, "")
    assert len(pids(tmp_path, "worker")) == 1


@pytest.mark.parametrize("code", [UnavailableError.exit_code, NoServerError.exit_code])
def test_a_model_or_server_that_is_not_there_stops_start_up_at_once(
    start: Start, tmp_path: Path, code: int
) -> None:
    supervisor = start(f"loading-exit:{code}")

    _, said = supervisor.communicate()

    assert (supervisor.returncode, said) == (3, "")
    assert len(pids(tmp_path, "worker")) == 1


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        ("ready-exit:70", "ended with code 70"),
        ("ready-exit:3", "ended with code 3"),
        ("ready-exit:1", "ended with code 1"),
        ("loading-exit:1", "ended with code 1"),
        ("ready-signal:9", "was killed by SIGKILL"),
        ("loading-signal:11", "was killed by SIGSEGV"),
    ],
)
def test_after_any_other_end_its_engine_is_killed_and_another_worker_goes_on(
    start: Start, tmp_path: Path, word: str, ending: str
) -> None:
    supervisor = start(word, "ready-exit:0")

    _, said = supervisor.communicate()

    assert supervisor.returncode == 0
    first, second = pids(tmp_path, "worker")
    line = f"supervisor: worker process {first} {ending} after \\d+ s; starting another in "
    assert re.search(line, said)
    assert len(said.splitlines()) == 1
    assert first != second
    assert not any(map(is_alive, pids(tmp_path, "engine")))


def test_a_server_or_model_that_was_there_once_is_waited_for(start: Start, tmp_path: Path) -> None:
    supervisor = start("ready-exit:70", *["loading-exit:3"] * 7, "ready-exit:0")

    _, said = supervisor.communicate()

    assert supervisor.returncode == 0
    assert len(pids(tmp_path, "worker")) == 9
    assert len(re.findall(r"ended with code 3 after \d+ s; starting another in ", said)) == 7


@pytest.mark.parametrize(("word", "code"), [("loading-exit:1", 1), ("loading-signal:9", 3)])
def test_five_failed_starts_in_a_row_end_the_supervisor(
    start: Start, tmp_path: Path, word: str, code: int
) -> None:
    supervisor = start(word)

    _, said = supervisor.communicate()

    assert supervisor.returncode == code
    assert len(pids(tmp_path, "worker")) == 5
    assert "5 worker processes in a row never got ready" in said.splitlines()[-1]


def test_a_worker_that_was_ready_in_between_lets_the_count_begin_anew(
    start: Start, tmp_path: Path
) -> None:
    words = ["loading-exit:1"] * 4 + ["ready-exit:70"] + ["loading-exit:1"] * 4

    supervisor = start(*words, "ready-exit:0")

    assert supervisor.wait() == 0
    assert len(pids(tmp_path, "worker")) == 10


def test_a_stuck_worker_is_killed_with_its_engine_and_replaced(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("ready-hang", "ready-exit:0", "--stall-s", 0.5)

    _, said = supervisor.communicate()

    assert supervisor.returncode == 0
    first = pids(tmp_path, "worker")[0]
    assert f"worker process {first} is stuck, without a pulse for " in said
    assert f"worker process {first} was killed by SIGKILL" in said


def test_a_worker_that_loads_for_longer_than_the_stall_timeout_is_left_alone(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("loading-wait:1", "--stall-s", 0.01)

    wait_until(lambda: pids(tmp_path, "worker"))
    (worker,) = pids(tmp_path, "worker")
    # The process has lived for far longer than the timeout.
    wait_until(lambda: time.time() - psutil.Process(worker).create_time() > 1)

    assert is_alive(worker)
    assert supervisor.poll() is None


def test_a_supervisor_that_was_frozen_with_its_worker_takes_none_for_stuck(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("ready-wait:1", "--stall-s", 1)
    wait_until(lambda: is_pulsing(tmp_path))
    (worker,) = pids(tmp_path, "worker")
    frozen = [psutil.Process(worker), psutil.Process(supervisor.pid)]

    for process in frozen:
        process.suspend()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2)
    for process in reversed(frozen):
        process.resume()
    supervisor.terminate()
    _, said = supervisor.communicate()

    assert supervisor.returncode == 0
    assert "stuck" not in said
    assert seen(tmp_path, "signals") == ["SIGTERM"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_while_the_model_loads_ends_everything_at_once(
    start: Start, tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    supervisor = start("loading-hang")
    wait_until(lambda: pids(tmp_path, "worker"))

    supervisor.send_signal(signum)

    assert supervisor.wait(10) == code
    assert not any(map(is_alive, pids(tmp_path, "worker") + pids(tmp_path, "engine")))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_ready_worker_drain(
    start: Start, tmp_path: Path, signum: signal.Signals
) -> None:
    supervisor = start("ready-wait:1")
    wait_until(lambda: is_pulsing(tmp_path))

    supervisor.send_signal(signum)

    assert supervisor.wait(10) == 0
    assert seen(tmp_path, "signals") == ["SIGTERM"]


def test_a_second_signal_is_passed_on_as_well(start: Start, tmp_path: Path) -> None:
    supervisor = start("ready-wait:2")
    wait_until(lambda: is_pulsing(tmp_path))

    supervisor.terminate()
    wait_until(lambda: seen(tmp_path, "signals"))
    supervisor.send_signal(signal.SIGINT)

    assert supervisor.wait(10) == 0
    assert seen(tmp_path, "signals") == ["SIGTERM", "SIGTERM"]


def test_a_worker_that_does_not_stop_in_time_is_killed(start: Start, tmp_path: Path) -> None:
    supervisor = start("ready-wait:9", "--drain-s", 0.2)
    wait_until(lambda: is_pulsing(tmp_path))

    supervisor.terminate()
    _, said = supervisor.communicate()

    assert supervisor.returncode == 3
    assert "does not stop; killing it" in said
    assert said.splitlines()[-1].endswith("while it was to stop; others take over its records.")


def test_a_signal_between_two_workers_ends_at_once(start: Start, tmp_path: Path) -> None:
    supervisor = start("ready-exit:70", "--restart-wait-s", 1000)
    assert supervisor.stderr is not None
    assert "starting another" in supervisor.stderr.readline()

    supervisor.terminate()

    assert supervisor.wait(10) == 0
    assert len(pids(tmp_path, "worker")) == 1


@pytest.mark.parametrize("word", ["ready-wait:1", "loading-hang"])
def test_a_closed_standard_input_stops_like_sigterm(
    start: Start, tmp_path: Path, word: str
) -> None:
    supervisor = start(word, "--until-stdin-closes", stdin=subprocess.PIPE)
    is_loading = word == "loading-hang"
    wait_until(lambda: pids(tmp_path, "worker") if is_loading else is_pulsing(tmp_path))

    assert supervisor.stdin is not None
    supervisor.stdin.close()

    assert supervisor.wait(10) == 0
    assert seen(tmp_path, "signals") == ([] if is_loading else ["SIGTERM"])


@pytest.mark.parametrize("word", ["ready-wait:1", "loading-hang"])
def test_a_worker_whose_supervisor_is_killed_drains_and_ends(
    start: Start, tmp_path: Path, word: str
) -> None:
    supervisor = start(word)
    is_loading = word == "loading-hang"
    wait_until(lambda: pids(tmp_path, "worker") if is_loading else is_pulsing(tmp_path))
    (worker,) = pids(tmp_path, "worker")
    (engine,) = pids(tmp_path, "engine")

    supervisor.kill()

    wait_until(lambda: not is_alive(worker), 10)
    assert seen(tmp_path, "signals") == ([] if is_loading else ["SIGTERM"])
    if is_loading:
        wait_until(lambda: not is_alive(engine), 10)
    else:
        os.kill(engine, signal.SIGKILL)  # what a real worker process does with its engine


def test_a_worker_leads_a_session_of_its_own_out_of_reach_of_ctrl_c(
    start: Start, tmp_path: Path
) -> None:
    start("ready-wait:1")
    wait_until(lambda: is_pulsing(tmp_path))

    (worker,) = pids(tmp_path, "worker")
    (engine,) = pids(tmp_path, "engine")

    assert os.getsid(engine) == os.getpgid(engine) == worker


def are_pulsing(directory: Path, *names: str) -> bool:
    return all(is_pulsing(directory / name) for name in names)


def test_a_killed_worker_is_replaced_without_the_others_noticing(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("a=ready-wait:1", "b=ready-wait:1", "c=ready-wait:1")
    wait_until(lambda: are_pulsing(tmp_path, "a", "b", "c"))
    (killed,) = pids(tmp_path / "b", "worker")

    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(pids(tmp_path / "b", "worker")) == 2 and is_pulsing(tmp_path / "b"))
    supervisor.terminate()
    _, said = supervisor.communicate()

    assert supervisor.returncode == 0
    assert f"worker process {killed} on b was killed by SIGKILL" in said
    assert [len(pids(tmp_path / name, "worker")) for name in "abc"] == [1, 2, 1]
    assert [seen(tmp_path / name, "signals") for name in "abc"] == [["SIGTERM"]] * 3
    assert not is_alive(pids(tmp_path / "b", "engine")[0])


def test_a_post_whose_workers_always_crash_is_given_up_and_the_others_go_on(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("a=ready-wait:1", "b=loading-signal:11")
    assert supervisor.stderr is not None

    given_up = next(line for line in supervisor.stderr if "is given up" in line)
    wait_until(lambda: is_pulsing(tmp_path / "a"))
    supervisor.terminate()

    assert "b is given up with code 3, 1 of 2 workers are left: 5 worker processes in" in given_up
    assert supervisor.wait(10) == 0
    assert [len(pids(tmp_path / name, "worker")) for name in "ab"] == [1, 5]


def test_a_post_that_cannot_start_beside_one_that_works_is_tried_again_and_then_given_up(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("a=ready-wait:1", "b=loading-exit:3", "--restart-wait-s", 0.5)
    assert supervisor.stderr is not None

    given_up = next(line for line in supervisor.stderr if "is given up" in line)

    assert "b is given up with code 3, 1 of 2 workers are left: 5 worker processes in" in given_up
    assert len(pids(tmp_path / "b", "worker")) == 5
    wait_until(lambda: is_pulsing(tmp_path / "a"))


def test_starts_while_redis_is_away_are_no_failed_starts_of_a_gpu(
    start: Start, tmp_path: Path
) -> None:
    away = [f"b=loading-exit:{NoServerError.exit_code}"] * 5

    start("a=ready-wait:1", *away, "b=ready-wait:1")

    wait_until(lambda: len(pids(tmp_path / "b", "worker")) == 6 and is_pulsing(tmp_path / "b"))


def test_when_every_post_is_given_up_the_last_one_says_the_code(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("a=loading-exit:5", *["b=loading-exit:70"] * 4, "b=loading-exit:1")

    _, said = supervisor.communicate()

    assert supervisor.returncode == 1
    assert "a is given up with code 5, 1 of 2 workers are left" in said
    assert [len(pids(tmp_path / name, "worker")) for name in "ab"] == [1, 5]


def test_what_no_post_has_at_the_start_ends_all_at_once(start: Start, tmp_path: Path) -> None:
    words = ("a=loading-exit:3", f"b=loading-exit:{NoServerError.exit_code}")
    supervisor = start(*words, "--restart-wait-s", 1000)

    assert supervisor.wait(30) == 3
    assert [len(pids(tmp_path / name, "worker")) for name in "ab"] == [1, 1]


def test_one_signal_drains_the_ready_and_ends_those_that_load_or_wait(
    start: Start, tmp_path: Path
) -> None:
    words = ("a=ready-wait:1", "b=loading-hang", "c=ready-exit:70")
    supervisor = start(*words, "--restart-wait-s", 1000)
    wait_until(lambda: is_pulsing(tmp_path / "a") and pids(tmp_path / "b", "worker"))
    assert supervisor.stderr is not None
    assert any("starting another" in line for line in supervisor.stderr)

    supervisor.terminate()

    assert supervisor.wait(10) == 0
    assert [seen(tmp_path / name, "signals") for name in "abc"] == [["SIGTERM"], [], []]
    assert [len(pids(tmp_path / name, "worker")) for name in "abc"] == [1, 1, 1]


def test_a_second_signal_reaches_every_worker(start: Start, tmp_path: Path) -> None:
    supervisor = start("a=ready-wait:2", "b=ready-wait:2")
    wait_until(lambda: are_pulsing(tmp_path, "a", "b"))

    supervisor.terminate()
    wait_until(lambda: all(seen(tmp_path / name, "signals") for name in "ab"))
    supervisor.terminate()

    assert supervisor.wait(10) == 0
    assert [seen(tmp_path / name, "signals") for name in "ab"] == [["SIGTERM", "SIGTERM"]] * 2


def test_a_worker_that_drains_well_does_not_hide_one_that_had_to_be_killed(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("a=ready-wait:9", "b=ready-wait:2", "--drain-s", 0.2)
    wait_until(lambda: are_pulsing(tmp_path, "a", "b"))

    supervisor.terminate()
    _, said = supervisor.communicate()

    assert supervisor.returncode == 3
    assert "on a does not stop; killing it" in said


def test_workers_whose_supervisor_is_killed_all_end_though_one_of_them_is_stuck(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("a=ready-wait:1", "b=ready-wait:1", "c=ready-hang")
    wait_until(lambda: are_pulsing(tmp_path, "a", "b", "c"))
    workers = [pids(tmp_path / name, "worker")[0] for name in "abc"]

    supervisor.kill()

    # Each holds on to its supervisor alone, and not to the others.
    wait_until(lambda: not any(map(is_alive, workers[:2])), 10)
    assert [seen(tmp_path / name, "signals") for name in "ab"] == [["SIGTERM"]] * 2
    os.kill(workers[2], signal.SIGKILL)  # it never ends by itself
    for name in "abc":
        os.kill(pids(tmp_path / name, "engine")[0], signal.SIGKILL)


def test_how_many_workers_are_ready_is_one_line(start: Start) -> None:
    supervisor = start("a=ready-wait:1", "b=ready-wait:1")
    assert supervisor.stderr is not None

    assert any("supervisor: 2 of 2 workers are ready" in line for line in supervisor.stderr)


#: Starts a process with or without the marker in a session of its own, and leaves it or stays.
LEADER = """
import os, subprocess, sys
marker, stays = sys.argv[1:]
environment = {**os.environ, marker: "1"} if marker else None
print(subprocess.Popen(["sleep", "1000"], env=environment).pid, flush=True)
if stays:
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("marker", "stays", "is_spared"), [(MARKER, "", False), (MARKER, "stays", True), ("", "", True)]
)
def test_an_engine_is_killed_before_a_start_only_if_its_worker_is_gone(
    start: Start, marker: str, stays: str, is_spared: bool
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, marker, stays],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=clean_environment(),
    ) as leader:
        assert leader.stdout is not None
        engine = int(leader.stdout.readline())
        if not stays:
            leader.wait()
        try:
            supervisor = start("ready-exit:0")
            _, said = supervisor.communicate()

            assert supervisor.returncode == 0
            assert is_alive(engine) == is_spared
            assert (f"killing sleep ({engine}), left behind" in said) != is_spared
        finally:
            if is_alive(engine):
                os.kill(engine, signal.SIGKILL)


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """A supervisor as `contextvqa run` starts it, with a ready worker process."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nshift 3\nexec {" ".join(SCRIPT)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(children.sys, "executable", str(program))
    child = Child(
        ["worker", str(tmp_path), "ready-wait:1", "--until-stdin-closes"], {}, tmp_path / "log"
    )
    wait_until(lambda: is_pulsing(tmp_path))
    yield child
    child.kill()
    child._process.stdin.close()


def test_killing_the_child_of_a_run_leaves_neither_worker_nor_engine(
    child: Child, tmp_path: Path
) -> None:
    child.kill()

    assert not any(map(is_alive, pids(tmp_path, "worker") + pids(tmp_path, "engine")))


def test_stopping_the_child_of_a_run_lets_its_worker_drain(child: Child, tmp_path: Path) -> None:
    child.stop(10)

    assert child.poll() == 0
    assert seen(tmp_path, "signals") == ["SIGTERM"]
    assert not any(map(is_alive, pids(tmp_path, "worker") + pids(tmp_path, "engine")))


def test_a_run_leaves_no_engine_of_a_supervisor_and_worker_that_were_killed(
    child: Child, tmp_path: Path
) -> None:
    (worker,) = pids(tmp_path, "worker")
    (engine,) = pids(tmp_path, "engine")
    os.kill(child._process.pid, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: child.poll() is not None)
    assert is_alive(engine)

    child.stop(10)

    assert not is_alive(engine)
