"""The audit of dependencies: a finding fails it, a service that is away does not."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support import ROOT

ADVISORY = {
    "id": "GHSA-0000-0000-0000",
    "modified": "2026-01-01T00:00:00Z",
    "summary": "runs whatever it is given",
    "affected": [
        {
            "package": {"name": "hostile", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV does: knows one advisory, of the package `hostile`."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"vulns": [ADVISORY]} if asked["package"]["name"] == "hostile" else {}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def osv() -> Iterator[str]:
    """The address of such a service."""
    with HTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(directory: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Audit a directory in which packages are installed."""
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", "--path", directory, "--osv-url", url],
        capture_output=True,
        text=True,
        check=False,
    )


def install(directory: Path, name: str) -> Path:
    """Make a package look installed."""
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    return directory


def test_a_known_vulnerability_fails_the_audit_and_is_named(tmp_path: Path, osv: str) -> None:
    install(tmp_path, "harmless")
    install(tmp_path, "hostile")

    done = audit(tmp_path, osv)

    assert done.returncode == 1
    assert "GHSA-0000-0000-0000" in done.stdout
    assert "harmless" not in done.stdout


def test_a_service_that_is_away_fails_nothing_and_is_said_in_one_line(tmp_path: Path) -> None:
    done = audit(install(tmp_path, "hostile"), "http://127.0.0.1:1/v1/query")

    assert done.returncode == 0
    assert done.stdout == "audit skipped: http://127.0.0.1:1/v1/query cannot be reached\n"
    assert done.stderr == ""
