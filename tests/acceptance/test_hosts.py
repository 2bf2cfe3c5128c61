"""Two hosts, set up by the commands of docs/hosts.md: real engines, one server, one directory."""

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest

from contextvqa.processes.sessions import kill_session, sessions_below
from contextvqa.queueing.roles import Role
from tests.hosts import Host, network, server_on
from tests.support import (
    FLAGS,
    ROOT,
    clean_environment,
    contextvqa,
    read_lines,
    run_contextvqa,
    wait_until,
)

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

DOCUMENT = (ROOT / "docs" / "hosts.md").read_text()
#: More than an engine writes before the other is ready.
NUM_RECORDS = 96
NUM_LATER_RECORDS = 32


def block(language: str, part: str) -> str:
    """Return the code block of the document that has this in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if part in text]
    return str(found)


class Operator:
    """
    Does on hosts what the document says.

    Args:
        places: What is here, by what stands for it in the document.

    """

    def __init__(self, places: Mapping[str, object], logs: Path) -> None:
        self._places = places
        self._logs = logs

    def here(self, text: str) -> str:
        """Return a text of the document with our places."""
        for word, place in self._places.items():
            text = text.replace(word, str(place))
        return text

    def commands(self, part: str) -> list[list[str]]:
        """Return the commands of the block that has this in it, as words."""
        return [shlex.split(line) for line in self.here(block("sh", part)).splitlines()]

    def environment_of(self, command: str) -> dict[str, str]:
        """Return what the document has exported where a command is run."""
        lines = [*self.commands("CONTEXTVQA_RUNS_DIR"), *self.commands(f"contextvqa {command}")]
        exports = [words[1] for words in lines if words[0] == "export"]
        return clean_environment() | dict(pair.split("=", 1) for pair in exports)

    def run(self, host: Host, command: str) -> None:
        """Run a command of the document to its end, which must be a good one."""
        done = subprocess.run(
            host.command(*self._line(command)),
            env=self.environment_of(command),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _line(self, command: str) -> list[str]:
        (words,) = [
            words for words in self.commands(f"contextvqa {command}") if words[1] == command
        ]
        return contextvqa(*words[1:])

    @contextmanager
    def daemon(self, host: Host, command: str) -> Iterator[Path]:
        """Run a daemon, and stop it gracefully at the end; yield the file of what it says."""
        log = self._logs / f"{command}-{host.name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                host.command(*self._line(command)),
                env=self.environment_of(command),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield log
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            sessions = sessions_below(process.pid)
            process.kill()
            process.wait()
            for session in sessions:
                kill_session(session)


def write_input(path: Path, num_records: int) -> Path:
    """Write an input of so many records, whose ids count from 0."""
    rows = orjson.loads((FLAGS / "sample_data.json").read_bytes())
    path.write_bytes(orjson.dumps([rows[n % len(rows)] | {"id": n} for n in range(num_records)]))
    return path


def writers(run: Path) -> list[str]:
    """Return the host of the worker of each line of a run; the last line may be unfinished."""
    path = run / "results.jsonl"
    text = path.read_text() if path.exists() else ""
    return re.findall(r'"worker":"generate-([a-z]+)-', text)


def test_two_hosts_complete_a_run_though_one_is_cut_off_in_the_middle_and_then_go_on(
    runs_dir: Path, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    source = write_input(tmp_path / "in.json", NUM_RECORDS)
    later = write_input(tmp_path / "later.json", NUM_LATER_RECORDS)
    secrets.mkdir()
    for role in Role:
        (secrets / f"redis_{role}").write_text(f"password-of-{role}\n")
    (tmp_path / "users.acl").write_text(run_contextvqa("acl", secrets).stdout)
    places: dict[str, object] = {
        "/etc/contextvqa": secrets,
        "/etc/redis": tmp_path,
        "/shared/runs": runs_dir,
        "Qwen/Qwen2.5-VL-3B-Instruct": FLAGS / "model",
        "/data/images": FLAGS,
        # No GPUs here. And so few in flight that one host cannot claim all there is.
        "--gpus all": "--max-in-flight 8",
    }
    operator = Operator(places, tmp_path)
    with (
        network(tmp_path, "east", "west") as (east, west),
        server_on(east, tmp_path / "redis", operator.here(block("conf", "bind"))),
        ExitStack() as daemons,
    ):
        # Given a worker and a refiner on each of two hosts
        logs = [
            daemons.enter_context(operator.daemon(host, command))
            for command in ("worker", "refiner")
            for host in (east, west)
        ]
        wait_until(lambda: all("ready: " in log.read_text() for log in logs), 300)

        # When a run is enqueued, and one of them is cut off while both work on it
        first = Operator({**places, "my_images.json": source}, tmp_path)
        first.run(east, "enqueue")
        wait_until(lambda: set(writers(runs_dir / "first")) == {"east", "west"})
        west.cut_off()

        # Then the other completes it: no record is lost or doubled
        first.run(east, "wait")
        first.run(east, "audit")
        lines = read_lines(runs_dir / "first" / "results.jsonl")
        ended = [*lines, *read_lines(runs_dir / "first" / "rejects.jsonl")]
        assert sorted(line["id"] for line in ended) == list(range(NUM_RECORDS))

        # When it is back, then it drops what was taken over, and takes part again
        west.plug_in()
        worker_of_west = logs[1]
        wait_until(lambda: "dropped: " in worker_of_west.read_text())
        second = Operator({"first": "second", **places, "my_images.json": later}, tmp_path)
        second.run(west, "enqueue")
        second.run(east, "wait")
        second.run(west, "audit")
        assert set(writers(runs_dir / "second")) == {"east", "west"}

    # And both refiners have done their part
    for log in logs[2:]:
        assert "stopped: 0 jobs" not in log.read_text()
