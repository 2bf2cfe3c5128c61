"""Two hosts share a run, as an operator sets them up: real engines, one server, one directory."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest

from contextvqa.processes.sessions import kill_session, sessions_below
from tests.hosts import Host, inside, network, server_on
from tests.support import FLAGS, clean_environment, contextvqa, read_lines, url_for, wait_until

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

NUM_RECORDS = 96


class Operator:
    """Runs commands on hosts, all of them with the same settings."""

    def __init__(self, url: str, runs_dir: Path, logs: Path) -> None:
        self.url = url
        self.environment = clean_environment() | {
            "CONTEXTVQA_RUNS_DIR": str(runs_dir),
            "CONTEXTVQA_MODEL": str(FLAGS / "model"),
            "CONTEXTVQA_IMAGE_ROOT": str(FLAGS),
        }
        self.logs = logs

    def environment_of(self, command: object) -> dict[str, str]:
        """Return the settings of all and the command's own user of the server."""
        return self.environment | {"CONTEXTVQA_REDIS_URL": url_for(str(command), self.url)}

    def run(self, host: Host, *arguments: object) -> None:
        """Run a command to its end, which must be a good one."""
        done = subprocess.run(
            inside(host.child, *contextvqa(*arguments)),
            env=self.environment_of(arguments[0]),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def daemon(self, host: Host, *arguments: object) -> Iterator[Path]:
        """Run a daemon, and stop it gracefully at the end; yield the file of what it says."""
        log = self.logs / f"{arguments[0]}-{host.name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                inside(host.child, *contextvqa(*arguments)),
                env=self.environment_of(arguments[0]),
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


def test_two_hosts_with_a_worker_and_a_refiner_each_complete_a_run_together(
    runs_dir: Path, tmp_path: Path
) -> None:
    rows = orjson.loads((FLAGS / "sample_data.json").read_bytes())
    source = tmp_path / "in.json"
    source.write_bytes(orjson.dumps([rows[n % len(rows)] | {"id": n} for n in range(NUM_RECORDS)]))
    with (
        network(tmp_path, "east", "west") as hosts,
        server_on(hosts[0], tmp_path / "redis") as (url, _),
        ExitStack() as daemons,
    ):
        # Given a worker and a refiner on each of two hosts
        operator = Operator(url, runs_dir, tmp_path)
        east, west = hosts
        workers = [
            daemons.enter_context(operator.daemon(host, "worker", "--max-in-flight", 8))
            for host in hosts
        ]
        refiners = [daemons.enter_context(operator.daemon(host, "refiner")) for host in hosts]
        wait_until(lambda: all("ready: " in log.read_text() for log in (*workers, *refiners)))

        # When one of them enqueues an input, and the other waits for the run
        operator.run(east, "enqueue", source, "--run", "r")
        operator.run(west, "wait", "r")

        # Then no record is lost or doubled
        operator.run(west, "audit", "r", "--input", source)
    lines = read_lines(runs_dir / "r" / "results.jsonl")
    ended = [*lines, *read_lines(runs_dir / "r" / "rejects.jsonl")]
    assert sorted(line["id"] for line in ended) == list(range(NUM_RECORDS))

    # And both of both have done their part
    names = {line["meta"]["worker"].split("-")[1] for line in lines}
    assert names == {"east", "west"}
    for log in refiners:
        assert "stopped: 0 jobs" not in log.read_text()
