"""`contextvqa audit`: nothing is missing, doubled, stuck or damaged, or it says what is."""

import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from rq.job import Job

from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.claims import Claims
from contextvqa.queueing.jobs import Kind, job_id
from contextvqa.queueing.pauses import Pause, pause
from contextvqa.queueing.queues import GENERATE, pending_key, rq_queue
from contextvqa.records import ImageRecord
from contextvqa.storage.run_directory import RunDirectory
from producer.ledger import Findings, Ledger
from producer.live import LiveRecords
from tests.integration.stand_in import BAD, GOOD, ONCE, generate, work_off
from tests.support import clean_environment, contextvqa, read_lines, run_contextvqa

KINDS = ("missing", "stuck", "doubled", "damaged")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six rows: four records, a duplicate, and a bad row."""
    path = tmp_path / "in.jsonl"
    images = ("a.png", "b.png", "c.png", "d.png", "a.png")
    path.write_bytes(b"".join(b'{"image": "%s"}\n' % image.encode() for image in images) + b"7\n")
    return path


@pytest.fixture
def places(connection: redis.Redis, redis_url: str, runs_dir: Path, source: Path) -> list[object]:
    """A run of four queued records; the options that name its places."""
    assert connection.ping()
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    assert run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places).returncode == 2
    return places


@pytest.fixture
def complete(connection: redis.Redis, places: list[object], runs_dir: Path) -> Path:
    """The directory of that run after three of its records were accepted and one rejected."""
    work_off(connection, lambda record: BAD if record.image == ("d.png",) else GOOD, places)
    return runs_dir / "r"


def audit(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the report, and the last line on stderr."""
    done = run_contextvqa("audit", "r", "--json", *arguments)
    return done.returncode, orjson.loads(done.stdout), "".join(done.stderr.splitlines()[-1:])


def found(report: dict[str, Any]) -> dict[str, int]:
    return {kind: report["findings"][kind]["count"] for kind in KINDS}


def counts(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["done"], report["rejected"], report["pending"]


NOTHING = dict.fromkeys(KINDS, 0)


def test_a_run_is_consistent_while_it_is_queued_in_flight_paused_and_complete(
    connection: redis.Redis, places: list[object], source: Path
) -> None:
    def check(expected: tuple[int, int, int]) -> None:
        code, report, said = audit(*places, "--input", source)
        assert (code, found(report), said) == (0, NOTHING, "")
        assert counts(report) == expected
        assert report["input"] == {"rows": 6, "bad": 1, "duplicates": 1, "others": 0}

    check((0, 0, 4))
    claims = Claims(connection, GENERATE, "w", process="1@elsewhere", result_ttl_s=9)
    claims.claim(2, 0)
    check((0, 0, 4))
    connection.lmove("rq:queue:generate", claims.claimed_key, "LEFT", "RIGHT")
    check((0, 0, 4))
    pause(connection, "r", Pause.now("operator", "asked for", "test"))
    other = Claims(connection, GENERATE, "v", process="2@elsewhere", result_ttl_s=9)
    assert other.claim(2, 0) == []
    assert rq_queue(GENERATE, connection).deferred_job_registry.count == 1
    check((0, 0, 4))


def test_a_complete_run_is_consistent_and_a_retried_reject_is_pending(
    places: list[object], complete: Path, source: Path
) -> None:
    code, report, _ = audit(*places, "--input", source)
    assert (code, counts(report), found(report)) == (0, (3, 1, 0), NOTHING)

    run_contextvqa("retry", "r", "--all", *places)

    code, report, _ = audit(*places, "--input", source)
    assert (code, counts(report), found(report)) == (0, (3, 0, 1), NOTHING)
    assert complete.exists()


def test_lines_of_earlier_attempts_are_counted_and_are_no_error(
    connection: redis.Redis, places: list[object], complete: Path
) -> None:
    for text in (BAD, GOOD):
        run_contextvqa("retry", "r", "--all", *places)
        work_off(connection, lambda _, text=text: text, places)

    code, report, _ = audit(*places)

    assert len(read_lines(complete / "rejects.jsonl")) == 2
    assert (code, counts(report), report["superseded"]) == (0, (4, 0, 0), 2)


def test_without_an_input_it_says_what_it_cannot_see_and_names_the_runs_inputs(
    places: list[object], source: Path
) -> None:
    done = run_contextvqa("audit", "r", *places)

    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "run r: 0 done, 0 rejected, pending 4"
    assert f"missing records cannot be seen without the run's inputs: --input {source}" in (
        done.stdout
    )


def test_a_job_that_was_deleted_is_stuck_and_enqueue_cures_it(
    connection: redis.Redis, places: list[object], source: Path
) -> None:
    keys = sorted(key.decode() for key in connection.smembers(pending_key("r")))
    connection.delete(Job.key_for(job_id("r", keys[0], Kind.GENERATE)))

    code, report, said = audit(*places, "--input", source)

    assert code == 5
    assert found(report) == {**NOTHING, "stuck": 1}
    assert report["findings"]["stuck"]["examples"] == [f"key {keys[0]}"]
    assert counts(report) == (0, 0, 3)
    assert said == (
        "contextvqa: error: run 'r' is not consistent: 1 stuck; "
        "`contextvqa enqueue INPUT --run r` re-creates missing and stuck records."
    )
    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)
    assert audit(*places, "--input", source)[0] == 0


def test_a_job_that_stands_in_no_queue_is_stuck(
    connection: redis.Redis, places: list[object], source: Path
) -> None:
    job = connection.lpop("rq:queue:generate").decode()

    code, report, _ = audit(*places)

    assert (code, found(report)) == (5, {**NOTHING, "stuck": 1})
    (example,) = report["findings"]["stuck"]["examples"]
    assert example.endswith(f"; first of all DEL rq:job:{job}")
    connection.delete(f"rq:job:{job}")
    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)
    assert audit(*places)[0] == 0


def test_what_redis_lost_is_missing_and_enqueue_cures_it(
    connection: redis.Redis, places: list[object], source: Path, complete: Path
) -> None:
    connection.flushall()
    lines = (complete / "results.jsonl").read_bytes().splitlines(keepends=True)
    (complete / "results.jsonl").write_bytes(b"".join(lines[1:]))
    lost = orjson.loads(lines[0])

    code, report, said = audit(*places, "--input", source)

    assert (code, found(report)) == (5, {**NOTHING, "missing": 1})
    (example,) = report["findings"]["missing"]["examples"]
    assert example == f"row {lost['id']} of {source}, key {lost['meta']['key']}"
    assert "1 missing" in said
    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)
    code, report, _ = audit(*places, "--input", source)
    assert (code, counts(report)) == (0, (2, 1, 1))


def test_records_of_another_input_are_counted_and_many_missing_ones_named_in_part(
    places: list[object], tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(b"".join(b'{"image": "%d.png"}\n' % number for number in range(30)))

    _, report, _ = audit(*places, "--input", other)

    assert report["input"]["others"] == 4
    assert report["findings"]["missing"]["count"] == 30
    assert len(report["findings"]["missing"]["examples"]) == 10


def test_a_doubled_line_is_named(places: list[object], complete: Path, source: Path) -> None:
    results = complete / "results.jsonl"
    first = results.read_bytes().splitlines(keepends=True)[0]
    with results.open("ab") as file:
        file.write(first)

    code, report, said = audit(*places, "--input", source)

    assert (code, found(report)) == (5, {**NOTHING, "doubled": 1})
    assert report["findings"]["doubled"]["examples"] == [
        f"key {orjson.loads(first)['meta']['key']}"
    ]
    assert "1 doubled; of each doubled key remove all lines but one" in said


def test_damaged_lines_are_named_by_number_and_all_others_are_counted(
    places: list[object], complete: Path, source: Path
) -> None:
    results = complete / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(lines[0] + b"\0" * 20 + b"\n" + lines[1] + b"{}\n" + lines[2])

    code, report, said = audit(*places, "--input", source)

    assert (code, found(report)) == (5, {**NOTHING, "damaged": 2})
    assert counts(report) == (3, 1, 0)
    texts = report["findings"]["damaged"]["examples"]
    assert [re.findall(r"results\.jsonl, line (\d+) ", text) for text in texts] == [["2"], ["4"]]
    assert "2 damaged; repair or remove the damaged lines" in said


def test_a_torn_tail_is_named_and_is_no_error(
    places: list[object], complete: Path, source: Path
) -> None:
    with (complete / "rejects.jsonl").open("ab") as file:
        file.write(b'{"id": 9')

    code, report, _ = audit(*places, "--input", source)

    assert (code, found(report), counts(report)) == (0, NOTHING, (3, 1, 0))
    (note,) = report["notes"]
    assert "rejects.jsonl ends in 8 bytes of an unfinished line" in note


def test_a_run_whose_embedded_server_is_down_has_nothing_pending(
    runs_dir: Path, source: Path
) -> None:
    with EmbeddedServer(runs_dir / "r" / "redis"):
        run_contextvqa("enqueue", source, "--run", "r", *ONCE, "--runs-dir", runs_dir)

    code, report, _ = audit("--runs-dir", runs_dir)
    assert (code, report["pending"]) == (0, None)
    assert "nothing counts as pending" in report["notes"][0]

    code, report, said = audit("--runs-dir", runs_dir, "--input", source)
    assert (code, found(report)) == (5, {**NOTHING, "missing": 4})
    assert "the same `contextvqa run` again re-creates" in said


def test_a_server_that_was_named_must_answer(places: list[object]) -> None:
    places[-1] = "redis://127.0.0.1:1"

    assert run_contextvqa("audit", "r", *places).returncode == 3


def test_what_is_no_run_is_refused(places: list[object]) -> None:
    for command in ("audit", "wait"):
        done = run_contextvqa(command, "other", *places)
        assert done.returncode == 2
        assert "there is no run 'other'" in done.stderr


def test_what_is_enqueued_and_what_ends_between_two_looks_is_not_missing(
    connection: redis.Redis, places: list[object], runs_dir: Path, tmp_path: Path
) -> None:
    grown = tmp_path / "grown.jsonl"
    grown.write_text('{"image": "a.png"}\n{"image": "e.png"}\n{"image": "f.png"}\n')
    ledger = Ledger(RunDirectory(runs_dir, "r"), connection)
    work_off(connection, lambda _: GOOD, places)
    run_contextvqa("enqueue", grown, "--run", "r", *ONCE, *places)

    counts = ledger.compare((str(grown),))

    assert ledger.findings == Findings()
    assert (ledger.done, ledger.pending, counts.others) == (4, 2, 3)


def test_a_record_that_has_ended_since_is_not_stuck(
    connection: redis.Redis, complete: Path
) -> None:
    key = read_lines(complete / "results.jsonl")[0]["meta"]["key"]

    assert LiveRecords(connection, "r").stuck([key]) == {}


def write_slowly(_: ImageRecord) -> str:
    time.sleep(0.001)
    return GOOD


def test_a_run_at_work_is_consistent_at_every_look(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    # Given a run of many records, and a refiner
    source = tmp_path / "many.jsonl"
    source.write_bytes(b"".join(b'{"image": "%d.png"}\n' % number for number in range(2000)))
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places)
    with subprocess.Popen(
        contextvqa("refiner", "--until-stdin-closes", *places),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    ) as refiner:
        # When it is audited while records move from place to place
        worker = threading.Thread(target=generate, args=(connection, write_slowly))
        worker.start()
        reports = []
        while not reports or reports[-1][1]["pending"]:
            reports.append(audit(*places, "--input", source))
        worker.join()
        refiner.communicate()

    # Then nothing is ever amiss, and in the end everything is done
    assert {(code, *found(report).values()) for code, report, _ in reports} == {(0, 0, 0, 0, 0)}
    assert {sum(counts(report)) for _, report, _ in reports} == {2000}
    assert counts(reports[0][1]) != counts(reports[-1][1]) == (2000, 0, 0)
