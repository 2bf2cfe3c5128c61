"""A real engine's run under a real Prometheus: each panel of the dashboard has something to show."""

import math
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.prometheus import MONITORING, Prometheus, expressions, program, prometheus
from tests.scrapes import Scrape, free_ports, url_of
from tests.support import FLAGS, clean_environment, contextvqa, read_lines, wait_until

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The sample three times over, and a record whose image is not there."""
    rows = orjson.loads((FLAGS / "sample_data.json").read_bytes())
    many = [rows[number % 48] | {"id": number} for number in range(144)]
    source = tmp_path / "in.json"
    source.write_bytes(orjson.dumps([*many, {"id": "gone", "image": "gone.png"}]))
    return source


def test_every_panel_of_the_dashboard_shows_a_real_run_and_the_worker_counts_its_tokens(
    source: Path, tmp_path: Path, runs_dir: Path
) -> None:
    program("prometheus")
    port = free_ports(3)
    targets = {
        job: [f"127.0.0.1:{port + number}"]
        for number, job in enumerate(("contextvqa", "contextvqa-refiner", "contextvqa-worker"))
    }
    command = contextvqa(
        *("run", source, "--run", "test", "--runs-dir", runs_dir, "--metrics-port", port),
        *("--model", FLAGS / "model", "--image-root", FLAGS),
        # Some records have fewer pairs, and are generated again.
        *("--enough-pairs", 5),
    )
    results = runs_dir / "test" / "results.jsonl"
    missing = set(expressions())
    with (
        (tmp_path / "log").open("w") as log,
        prometheus(tmp_path / "prometheus", targets) as server,
        subprocess.Popen(command, stderr=log, env=clean_environment()) as process,
    ):
        wait_until(lambda: process.poll() is not None or num_lines(results) >= 20, 600)
        num_written = num_lines(results)
        scrape = Scrape(url_of(port + 2))

        def has_looked() -> bool:
            missing.difference_update({panel for panel in missing if shows(server, panel[1])})
            return not missing or process.poll() is not None

        wait_until(has_looked)
        process.wait()
        picture = tmp_path / "picture.svg"
        draw = [sys.executable, MONITORING / "picture.py", server.url, picture, "60"]
        subprocess.run(list(map(str, draw)), check=True)
    assert process.returncode == 0, (tmp_path / "log").read_text()

    assert missing == set()
    # And so has its picture
    assert picture.read_text().count("<poly") >= 20
    lines = read_lines(results)
    assert scrape.value("contextvqa_output_tokens_total") >= sum(
        line["meta"]["output_tokens"] for line in lines[:num_written]
    )
    assert scrape.value("contextvqa_slot_seconds_total", state="busy") > 0


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def shows(server: Prometheus, expression: str) -> bool:
    return any(not math.isnan(float(series["value"][1])) for series in server.query(expression))
