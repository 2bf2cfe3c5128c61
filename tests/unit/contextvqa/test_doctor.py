"""How the doctor's checks are made, and what is found of a server that says this or that."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from contextvqa.doctor import checks, disk
from contextvqa.doctor.asked import Asked
from contextvqa.doctor.report import table
from contextvqa.findings import Finding, Verdict, failure, ok
from contextvqa.queueing.server_health import examine
from contextvqa.settings import Devices, Engine, Images, Model, Sampling, Store

ASKED = Asked(
    role=None,
    store=Store(),
    model=Model(),
    sampling=Sampling(),
    engine=Engine(),
    devices=Devices(),
    images=Images(),
    prompt="",
    timeout_s=60.0,
)


def breaks(_: Asked) -> Iterator[Finding]:
    """Find something, and then a bug."""
    yield ok("one", "found")
    raise KeyError("key")


def fails(_: Asked) -> Iterator[Finding]:
    """Fail as a device does."""
    yield from ()
    raise OSError(5, "Input/output error", "/mnt/x")


def works(_: Asked) -> Iterator[Finding]:
    """Find what is in order."""
    yield ok("three", "well")


def test_a_check_that_breaks_hides_neither_what_it_found_nor_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {
        act.__name__: checks.Check(f"{__name__}:{act.__name__}", (None,))
        for act in (breaks, fails, works)
    }
    here = SimpleNamespace(breaks=breaks, fails=fails, works=works)
    monkeypatch.setattr(checks, "import_module", lambda _: here)
    monkeypatch.setattr(checks, "CHECKS", table)

    found = list(checks.examine(ASKED))

    assert [(finding.check, finding.verdict) for finding in found] == [
        ("one", Verdict.OK),
        ("breaks", Verdict.FAILURE),
        ("fails", Verdict.FAILURE),
        ("three", Verdict.OK),
    ]
    assert "KeyError" in found[1].found
    assert "/mnt/x" in found[2].found


class Server:
    """Says of itself what it is told to."""

    def __init__(self, **info: Any) -> None:
        self._info = {"redis_version": "7.4.0", "aof_enabled": 1} | info

    def info(self) -> dict[str, Any]:
        return self._info

    def time(self) -> tuple[int, int]:
        return 0, 0


@pytest.mark.parametrize(
    ("info", "check", "verdict"),
    [
        ({}, "append-only file", Verdict.OK),
        ({"aof_last_write_status": "err"}, "append-only file", Verdict.WARNING),
        ({"used_memory": 90, "maxmemory": 100}, "redis memory", Verdict.WARNING),
        ({"used_memory": 89, "maxmemory": 100}, "redis memory", Verdict.OK),
        ({"redis_version": "6.0.16"}, "redis version", Verdict.FAILURE),
        ({"redis_version": "6.2.0"}, "redis version", Verdict.OK),
        ({"redis_version": ""}, "redis version", Verdict.FAILURE),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "redis version", Verdict.OK),
    ],
)
def test_a_server_is_judged_by_what_it_says_of_itself(
    info: dict[str, Any], check: str, verdict: Verdict
) -> None:
    server: Any = Server(**info)

    assert {f.check: f.verdict for f in examine(server)}[check] is verdict


@pytest.mark.parametrize(
    ("free_bytes", "files", "verdict"),
    [
        (2e9, 5, Verdict.OK),
        (5e8, 5, Verdict.WARNING),
        (1e6, 5, Verdict.FAILURE),
        (2e9, 0, Verdict.FAILURE),
    ],
)
def test_a_disk_is_judged_by_its_free_bytes_and_inodes(
    monkeypatch: pytest.MonkeyPatch, free_bytes: float, files: int, verdict: Verdict
) -> None:
    status = SimpleNamespace(f_bavail=free_bytes, f_frsize=1, f_files=9, f_favail=files)
    monkeypatch.setattr("contextvqa.doctor.disk.os.statvfs", lambda _: status)

    assert disk.room("disk", Path("/x")).verdict is verdict


def test_a_terminal_shows_what_was_found_and_does_not_obey_it() -> None:
    console = Console(width=80)

    with console.capture() as shown:
        console.print(table([failure("model", "[red]no\x1b[2J", "one", "copy it")]))

    assert r"[red]no\x1b[2J" in shown.get()
    assert "one; copy it" in shown.get()
