"""`contextvqa reparse`: the texts of a run judged anew into another run, whatever happens meanwhile."""

import signal
import subprocess
from hashlib import md5
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from contextvqa.errors import Reason
from contextvqa.gates import Quality
from contextvqa.queueing.queues import GENERATE, rq_queue
from contextvqa.records import ImageRecord, Rejection, prompt_digest
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.storage.sink import Line, Sink
from refiner.conclusion import conclude, line_of
from refiner.reparse import WRITE_BYTES
from tests.support import (
    ROOT,
    clean_environment,
    contextvqa,
    generation_of,
    read_lines,
    run_contextvqa,
    wait_until,
)

FLAGS = ROOT / "tests/data/flags_texts.jsonl"
TEXTS = [
    *(orjson.loads(line)["vqa"] for line in FLAGS.read_bytes().splitlines()),
    *(path.read_text() for path in sorted((ROOT / "tests/data/raw_texts").glob("*.txt"))),
]
KINDS = ("results", "rejects")
#: Known to the run alone.
PROMPT = "Say more."
#: Options that reject some records and drop some pairs that are good enough by default.
STRICTER = ("--gate", "cap=drop", "--min-pairs", 2)


def key_of(number: int) -> str:
    return md5(str(number).encode(), usedforsecurity=False).hexdigest()


def record_of(number: int) -> ImageRecord:
    return ImageRecord(
        run="old",
        key=key_of(number),
        id=number,
        image=(f"{number}.png",),
        prompt_digest=prompt_digest(PROMPT),
    )


def lived(number: int, config: RunConfig) -> Line:
    """Return the line of a record whose attempts get one text after the other."""
    end: Line | ImageRecord = record_of(number)
    while isinstance(end, ImageRecord):
        end = conclude(generation_of(end, TEXTS[(number + end.attempt) % len(TEXTS)]), config)
    return end


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    """The lines of a run of all texts, and of an image that is gone."""
    config = RunConfig.new("old", "m", Sampling(), Quality(enough_pairs=2))
    rejection = Rejection(
        record=record_of(len(TEXTS)),
        stage="generate",
        reason=Reason.IMAGE_NOT_FOUND,
        message="gone",
    )
    return [*(lived(number, config) for number in range(len(TEXTS))), line_of(rejection)]


def begin(runs_dir: Path, lines: list[Line]) -> RunDirectory:
    directory = RunDirectory(runs_dir, "old")
    directory.begin("m", Sampling(), "in.json", Quality(enough_pairs=2))
    directory.prompts.keep(PROMPT)
    sink = Sink(directory)
    sink.append(lines)
    sink.close()
    return directory


@pytest.fixture
def old(runs_dir: Path, lines: list[Line]) -> RunDirectory:
    """A small run."""
    return begin(runs_dir, lines)


@pytest.fixture
def large(runs_dir: Path, lines: list[Line]) -> RunDirectory:
    """A run that is written in several steps."""
    count = 2 * WRITE_BYTES * len(lines) // sum(len(line.data) for line in lines)
    copies = [
        Line(
            key=key_of(number),
            data=line.data.replace(line.key.encode(), key_of(number).encode()),
            is_result=line.is_result,
        )
        for number, line in enumerate(islice(cycle(lines), count))
    ]
    return begin(runs_dir, copies)


def reparse(runs_dir: Path, new: str, *options: object) -> dict[str, Any]:
    done = run_contextvqa(
        "reparse", "old", "--run", new, "--runs-dir", runs_dir, "--json", *options
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = orjson.loads(done.stdout)
    return report


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.*")}


def by_key(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    return {line["meta"]["key"]: line for line in read_lines(path / f"{kind}.jsonl")}


def test_by_the_same_gates_nothing_changes_and_the_old_run_stays_as_it_is(
    runs_dir: Path, old: RunDirectory
) -> None:
    before = contents(old.path)

    report = reparse(runs_dir, "new", "--jobs", 2)

    assert (report["read"], report["changed"], report["notes"]) == (len(TEXTS) + 1, 0, [])
    assert report["accepted"]["before"] == report["accepted"]["after"] > len(TEXTS) // 2
    assert contents(old.path) == before
    for kind in KINDS:
        was, now = (run / f"{kind}.jsonl" for run in (old.path, runs_dir / "new"))
        assert was.read_bytes() == now.read_bytes().replace(b'"run":"new"', b'"run":"old"')


@pytest.mark.usefixtures("old")
def test_a_new_runs_json_says_where_its_texts_are_from_and_what_else_they_are_judged_by(
    runs_dir: Path,
) -> None:
    reparse(runs_dir, "new", *STRICTER)

    was, now = (orjson.loads((runs_dir / run / "run.json").read_bytes()) for run in ("old", "new"))
    assert now["reparsed_from"] == {"run": "old", "uid": was["uid"]}
    assert now["quality"]["actions"] == was["quality"]["actions"] | {"cap": "drop"}
    assert (now["quality"]["min_pairs"], now["quality"]["enough_pairs"]) == (2, 2)
    assert (now["model"], now["sampling"], now["inputs"]) == ("m", was["sampling"], ["in.json"])
    assert now["uid"] != was["uid"]


def test_by_stricter_gates_what_changed_is_counted_with_its_reasons(
    runs_dir: Path, old: RunDirectory
) -> None:
    report = reparse(runs_dir, "new", *STRICTER)

    results, rejects = (by_key(runs_dir / "new", kind) for kind in KINDS)
    was = by_key(old.path, "results")
    assert report["accepted"] == {"before": len(was), "after": len(results)}
    assert report["pairs"]["after"] == sum(
        len(line["context_vqa"]["qas"]) for line in results.values()
    )
    lost = report["changes"]["result_to_reject"]
    assert lost["count"] == len(was.keys() & rejects.keys()) > 0
    (example, *_) = lost["reasons"]["gate.min_pairs"]["examples"]
    assert rejects[key_of(example)]["reason"] == "gate.min_pairs"
    assert "gate.cap" in report["changes"]["pairs"]["reasons"]


def test_by_looser_gates_rejects_become_results(runs_dir: Path, old: RunDirectory) -> None:
    reparse(runs_dir, "strict", *STRICTER)

    done = run_contextvqa(
        *("reparse", "strict", "--run", "loose", "--gates", "default", "--min-pairs", 1),
        *("--runs-dir", runs_dir),
    )

    assert "reject to result: " in done.stdout
    now, was = by_key(runs_dir / "loose", "results"), by_key(old.path, "results")
    assert {key: line["context_vqa"] for key, line in now.items()} == {
        key: line["context_vqa"] for key, line in was.items()
    }


def test_of_each_key_only_the_line_that_counts_is_replayed(
    runs_dir: Path, old: RunDirectory
) -> None:
    # Given a reject that was rejected again, and one that was accepted, when they were retried;
    # and a results line that somebody copied
    again, late = [line for line in read_lines(old.rejects_path) if line["vqa"]][:2]
    result = read_lines(old.results_path)[0]
    again["attempts"] += 1
    again["message"] = "the last"
    result |= {"id": late["id"], "meta": result["meta"] | {"key": late["meta"]["key"]}}
    copied = read_lines(old.results_path)[1]
    for path, line in (
        (old.rejects_path, again),
        (old.results_path, result),
        (old.results_path, copied),
    ):
        path.write_bytes(path.read_bytes() + orjson.dumps(line) + b"\n")

    report = reparse(runs_dir, "new")

    results, rejects = (by_key(runs_dir / "new", kind) for kind in KINDS)
    assert report["read"] == len(TEXTS) + 1
    assert len(results.keys() | rejects.keys()) == len(results) + len(rejects) == len(TEXTS) + 1
    assert rejects[again["meta"]["key"]]["attempts"] == again["attempts"]
    assert late["meta"]["key"] in results


def interrupted(runs_dir: Path, stop: signal.Signals) -> tuple[int, str]:
    """Stop a reparse that has begun to write; return its exit code and stderr."""
    command = contextvqa("reparse", "old", "--run", "new", "--runs-dir", runs_dir, *STRICTER)
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=clean_environment(), start_new_session=True
    )
    results = runs_dir / "new" / "results.jsonl"
    wait_until(lambda: results.exists() and results.stat().st_size)
    process.send_signal(stop)
    # Its processes have stderr, too: it ends when the last of them has ended.
    _, stderr = process.communicate(timeout=120)
    return process.returncode, stderr


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_what_was_stopped_in_the_middle_goes_on_to_the_same_files_and_the_same_report(
    runs_dir: Path, stop: signal.Signals
) -> None:
    # Given what it makes when nothing stops it
    whole = reparse(runs_dir, "whole", *STRICTER)

    # When it is stopped, with a line half written
    exit_code, stderr = interrupted(runs_dir, stop)
    new = runs_dir / "new"
    num_bytes = (new / "results.jsonl").stat().st_size
    with (new / "results.jsonl").open("ab") as results:
        results.write(b'{"id": 1, "image"')

    # Then the same command makes the rest
    assert exit_code == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    assert ("interrupted; to resume: contextvqa reparse" in stderr) == (stop == signal.SIGINT)
    assert "Traceback" not in stderr
    assert 0 < num_bytes < (runs_dir / "whole" / "results.jsonl").stat().st_size
    report = reparse(runs_dir, "new", *STRICTER)
    assert report == whole | {"run": "new"}
    for kind in KINDS:
        made, expected = (runs_dir / run / f"{kind}.jsonl" for run in ("new", "whole"))
        assert made.read_bytes().replace(b'"run":"new"', b'"run":"whole"') == expected.read_bytes()


@pytest.mark.usefixtures("old")
def test_what_is_complete_is_compared_again_and_not_written(runs_dir: Path) -> None:
    first = reparse(runs_dir, "new", *STRICTER)
    before = contents(runs_dir / "new")

    assert reparse(runs_dir, "new", *STRICTER) == first
    assert contents(runs_dir / "new") == before


def test_a_full_disk_ends_it_with_what_to_do_and_it_goes_on_with_room(
    runs_dir: Path, old: RunDirectory
) -> None:
    command = contextvqa("reparse", "old", "--run", "new", "--runs-dir", runs_dir)
    limited = ["prlimit", "--fsize=20000", *command]
    done = subprocess.run(
        limited, capture_output=True, text=True, check=False, env=clean_environment()
    )

    assert done.returncode == 5
    *_, resume, error = done.stderr.splitlines()
    assert resume.startswith("to resume: contextvqa reparse")
    assert error.startswith("contextvqa: error: cannot write ")
    assert reparse(runs_dir, "new")["changed"] == 0
    assert len(by_key(runs_dir / "new", "results")) == len(by_key(old.path, "results"))


@pytest.mark.usefixtures("old")
def test_rejects_of_the_new_run_may_be_retried_and_its_records_audited(
    connection: redis.Redis, redis_url: str, runs_dir: Path
) -> None:
    report = reparse(runs_dir, "new", *STRICTER)
    num_rejected = report["read"] - report["accepted"]["after"]
    places = ("--runs-dir", runs_dir, "--redis-url", redis_url)

    status = orjson.loads(run_contextvqa("status", "new", *places, "--json").stdout)
    audit = run_contextvqa("audit", "new", *places, "--json")
    retry = run_contextvqa("retry", "new", "--all", *places)

    assert (status["accepted"], status["rejected"]) == (report["accepted"]["after"], num_rejected)
    assert audit.returncode == 0, audit.stderr
    assert orjson.loads(audit.stdout)["done"] == report["accepted"]["after"]
    assert retry.returncode == 0, retry.stderr
    assert rq_queue(GENERATE, connection).count == num_rejected


def test_a_run_with_a_server_of_its_own_gives_the_new_run_one(
    runs_dir: Path, old: RunDirectory
) -> None:
    old.redis_path.mkdir()
    reparse(runs_dir, "new")

    done = run_contextvqa("retry", "new", "--all", "--runs-dir", runs_dir)

    assert done.returncode == 0, done.stderr
    assert "run the same `contextvqa run` again" in done.stderr


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("old", "--run", "old"), "--run old is the run that is read; name a new one."),
        (("none", "--run", "new"), "there is no run 'none' in "),
        (("../old", "--run", "new"), "run name '../old' cannot be used"),
        (("old", "--run", "../new"), "run name '../new' cannot be used"),
        (("old", "--run", "a\nb"), "run name 'a\\nb' cannot be used"),
        (("old", "--run", "other"), "is there already, and not made of 'old' as it is now;"),
        (("old", "--run", "loose"), "was begun with gate cap 'off', not 'flag'"),
        (("old", "--run", "new", "--gate", "capp=off"), "--gate 'capp=off' names no gate"),
        (("old", "--run", "new", "--min-words", 9000), "--max-words is 2000; it must be at least"),
        (("old", "--run", "new", "--jobs", 0), "--jobs is 0; it must be at least 1."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_leaves_nothing(
    runs_dir: Path, arguments: tuple[object, ...], message: str
) -> None:
    RunDirectory(runs_dir, "other").begin("m", Sampling(), "in.json", Quality(enough_pairs=2))
    reparse(runs_dir, "loose", "--gate", "cap=off")
    before = contents(runs_dir)

    done = run_contextvqa("reparse", *arguments, "--runs-dir", runs_dir)

    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert contents(runs_dir) == before


@pytest.mark.usefixtures("old")
def test_a_run_of_an_older_parser_is_not_gone_on_with(runs_dir: Path) -> None:
    reparse(runs_dir, "new")
    path = runs_dir / "new" / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"version": "', b'"version": "0.'))

    done = run_contextvqa("reparse", "old", "--run", "new", "--runs-dir", runs_dir)

    assert done.returncode == 2
    assert "was begun by version 0." in done.stderr


@pytest.mark.usefixtures("old")
def test_a_directory_that_cannot_be_made_is_said_in_one_line(runs_dir: Path) -> None:
    (runs_dir / "new").write_bytes(b"a file is in the way")

    done = run_contextvqa("reparse", "old", "--run", "new", "--runs-dir", runs_dir)

    assert done.returncode == 2
    assert "cannot make the run directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": 1, "meta"', "rejects.jsonl, line 2 "),
        (orjson.dumps({"id": 1, "meta": {"key": "f" * 32}}), f"the line of key {'f' * 32} is none"),
    ],
)
def test_a_damaged_line_ends_it_and_is_named(
    runs_dir: Path, old: RunDirectory, line: bytes, message: str
) -> None:
    first, rest = old.rejects_path.read_bytes().split(b"\n", 1)
    old.rejects_path.write_bytes(b"\n".join([first, line, rest]))

    done = run_contextvqa("reparse", "old", "--run", "new", "--runs-dir", runs_dir)

    assert done.returncode == 5
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
