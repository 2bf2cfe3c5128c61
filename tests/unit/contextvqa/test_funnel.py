"""The funnel counts the lines that count, each once, in however many looks they are read."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextvqa.errors import RunError
from contextvqa.gates import NAMES
from contextvqa.storage import follower
from contextvqa.storage.rejects import Rejects
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.watching import tally
from contextvqa.watching.funnel import Funnel, FunnelState
from contextvqa.watching.tally import GateCount, RejectCount

FLAG, DROP = {"action": "flag", "evidence": "e"}, {"action": "drop", "evidence": "e"}


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a snapshot whenever anything is new."""
    monkeypatch.setattr(follower, "SAVE_BYTES", 1)
    monkeypatch.setattr(follower, "SAVE_SHARE", 0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that a funnel decoded."""
    lines: list[bytes] = []
    real = tally.read

    def read(data: bytes) -> Any:
        lines.append(data)
        return real(data)

    monkeypatch.setattr("contextvqa.watching.funnel.read", read)
    return lines


def make_run(runs_dir: Path) -> Path:
    path = runs_dir / "r"
    path.mkdir()
    return path


def result(number: int, num_pairs: int = 1, **meta: Any) -> dict[str, Any]:
    qas = [{"question": "q", "answer": "a"}] * num_pairs
    meta = {"key": f"{number:032x}", **meta}
    return {"id": number, "context_vqa": {"context": "c", "qas": qas}, "vqa": "v", "meta": meta}


def reject(
    number: int, reason: str = "parse.empty", attempts: int = 1, stage: str = "refine", **meta: Any
) -> dict[str, Any]:
    meta = {"key": f"{number:032x}", **meta}
    told = {"stage": stage, "reason": reason, "message": f"why {attempts}", "attempts": attempts}
    return {"id": number, **told, "vqa": None, "meta": meta}


def append(run: Path, *lines: dict[str, Any]) -> None:
    for line in lines:
        with (run / ("rejects.jsonl" if "reason" in line else "results.jsonl")).open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")


class Looker:
    """What `status` holds of a run."""

    def __init__(self, run: Path) -> None:
        self.rejects = Rejects(RunDirectory(run.parent, run.name))
        self.funnel = Funnel(self.rejects)
        #: Bytes read and there, as they were told.
        self.told: list[tuple[int, int]] = []

    def look(self) -> FunnelState:
        self.rejects.follow()
        return self.funnel.look(lambda read, there: self.told.append((read, there)))


def look(run: Path) -> FunnelState:
    return Looker(run).look()


def test_a_run_without_a_line_has_a_funnel_of_noughts(run: Path) -> None:
    funnel = look(run)

    assert set(funnel.steps.values()) == {0}
    assert list(funnel.steps)[:3] == ["records", "generated", "parsed"]
    assert list(funnel.steps)[-2:] == ["gate.min_pairs", "accepted"]
    assert (funnel.pairs.written, funnel.attempts, funnel.rejects) == (0, {}, {})


@pytest.mark.parametrize(
    ("reason", "stage", "step"),
    [
        ("image.not_found", "generate", "generated"),
        ("job.crashed", "generate", "generated"),
        ("job.crashed", "refine", "parsed"),
        ("parse.no_pairs", "refine", "parsed"),
        ("gate.refusal", "refine", "gate.refusal"),
        ("gate.of_tomorrow", "refine", "gate.of_tomorrow"),
    ],
)
def test_a_reject_came_past_all_steps_before_that_of_its_reason(
    run: Path, reason: str, stage: str, step: str
) -> None:
    append(run, reject(1, reason, stage=stage))

    steps = look(run).steps

    number = list(steps).index(step)
    assert set(list(steps.values())[:number]) == {1}
    assert set(list(steps.values())[number:]) == {0}


def test_pairs_and_gates_are_counted_by_what_was_found(run: Path) -> None:
    two_gates = {"gate.cap": [{"pair": 0, **DROP}], "gate.language": [{"pair": 0, **DROP}]}
    append(
        run,
        result(1, 3, checks={"spans": [[None]]}),
        result(2, 1, checks={**two_gates, "kept": [1], "gate.ir": [FLAG]}),
        result(3, 2, checks={"gate.cap": [{"pair": 0, **FLAG}, {"pair": 1, **FLAG}]}),
        reject(4, "gate.refusal", checks={"gate.refusal": [DROP], "gate.ir": [FLAG]}),
        reject(5, "gate.min_pairs", checks={"gate.cap": [{"pair": 0, **DROP}]}),
    )

    funnel = look(run)

    assert (funnel.pairs.written, funnel.pairs.kept) == (7, 6)
    assert (funnel.pairs.by_written, funnel.pairs.by_kept) == ({2: 2, 3: 1}, {1: 1, 2: 1, 3: 1})
    assert funnel.gates == {
        "refusal": GateCount(articles_dropped=1),
        "ir": GateCount(articles_flagged=2),
        "language": GateCount(pairs_dropped=1),
        "cap": GateCount(pairs_dropped=2, pairs_flagged=2),
    }
    assert list(funnel.gates) == [name for name in NAMES if name in funnel.gates]


def test_attempts_are_counted_before_and_after_the_one_that_a_line_is_of(run: Path) -> None:
    brief = {"attempt": 1, "reason": "parse.empty", "output_tokens": 3}
    whole = {"attempt": 2, "reason": "gate.refusal", "text": "t", "seed": 1}
    after = {"attempt": 3, "stage": "refine", "reason": "parse.empty", "written": None}
    append(
        run,
        result(1),
        result(2, attempt=2, earlier=[brief]),
        result(3, attempt=1, later=[whole, after]),
        reject(4, attempts=3, earlier=[brief, whole]),
    )

    funnel = look(run)

    assert funnel.attempts == {1: 1, 2: 1, 3: 2}
    assert list(funnel.other_attempts.items()) == [("parse.empty", 3), ("gate.refusal", 2)]


def test_lines_of_before_there_were_gates_and_attempts_count(run: Path) -> None:
    append(run, result(1, 2), reject(2))

    funnel = look(run)

    assert (funnel.steps["records"], funnel.steps["accepted"]) == (2, 1)
    assert (funnel.pairs.by_written, funnel.attempts, funnel.gates) == ({2: 1}, {1: 2}, {})


def test_of_each_reason_the_first_three_records_are_named(run: Path) -> None:
    append(run, reject(9, "job.crashed"), *(reject(number) for number in range(5)))

    assert list(look(run).rejects.items()) == [
        ("parse.empty", RejectCount(count=5, example_ids=[0, 1, 2], message="why 1")),
        ("job.crashed", RejectCount(count=1, example_ids=[9], message="why 1")),
    ]


def test_a_reject_counts_until_its_key_has_a_result_or_a_later_reject(run: Path) -> None:
    lasting = Looker(run)
    append(run, reject(1), reject(2), reject(3))
    assert lasting.look().rejects["parse.empty"].example_ids == [1, 2, 3]

    append(run, reject(2, "gate.ir", attempts=2), result(1, attempt=2))

    for funnel in (lasting.look(), look(run)):
        assert (funnel.steps["records"], funnel.steps["accepted"]) == (3, 1)
        assert funnel.rejects == {
            "parse.empty": RejectCount(count=1, example_ids=[3], message="why 1"),
            "gate.ir": RejectCount(count=1, example_ids=[2], message="why 2"),
        }
        assert funnel.attempts == {1: 1, 2: 2}


def test_only_what_is_new_is_read_unless_a_reject_counts_no_more(
    run: Path, counted: list[bytes]
) -> None:
    append(run, result(1), result(2), reject(3), reject(4))
    look(run)
    counted.clear()

    append(run, result(5), reject(6))
    look(run)

    assert [orjson.loads(line)["id"] for line in counted] == [5, 6]
    counted.clear()

    append(run, result(3))
    look(run)

    assert [orjson.loads(line)["id"] for line in counted] == [3, 3, 4, 6]
    counted.clear()

    assert look(run).steps["records"] == 6
    assert counted == []


SPOILED: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a digit changed": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"num_records":2', b'"num_records":7')
    ),
    "of another version": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"version":1', b'"version":9')
    ),
    "of another kind": lambda path: shutil.copy(path.with_suffix(".index"), path),
}


@pytest.mark.parametrize("name", ["results", "rejects"])
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_snapshot_that_is_missing_or_damaged_is_made_anew(
    run: Path, counted: list[bytes], name: str, spoil: Callable[[Path], object]
) -> None:
    append(run, result(1), result(2), reject(3), reject(4))
    before = look(run)
    cache = run / f".{name}.jsonl.funnel"
    sound = cache.read_bytes()
    spoil(cache)
    assert not cache.exists() or cache.read_bytes() != sound
    counted.clear()

    assert look(run) == before

    assert len(counted) == 2
    assert cache.read_bytes() == sound


def test_a_snapshot_that_is_behind_is_gone_on_from(run: Path, counted: list[bytes]) -> None:
    append(run, result(1), reject(2))
    look(run)
    behind = {path: path.read_bytes() for path in run.glob(".*.funnel")}
    append(run, result(3), reject(4))
    ahead = look(run)
    for path, data in behind.items():
        path.write_bytes(data)
    counted.clear()

    assert look(run) == ahead
    assert len(counted) == 2


def test_a_snapshot_of_another_file_is_not_believed(run: Path) -> None:
    append(run, result(1), reject(2), reject(3))
    look(run)
    for path in run.glob("*.jsonl"):
        path.unlink()
    append(run, result(4, 2), result(5, 2), reject(6))

    funnel = look(run)

    assert (funnel.steps["records"], funnel.steps["accepted"]) == (3, 2)
    assert (funnel.pairs.kept, funnel.rejects["parse.empty"].example_ids) == (4, [6])


def test_a_result_that_was_taken_out_lets_its_reject_count_again(run: Path) -> None:
    append(run, reject(1), result(1, attempt=2), result(2))
    look(run)
    (run / "results.jsonl").write_bytes(orjson.dumps(result(2)) + b"\n")

    assert look(run).rejects["parse.empty"].example_ids == [1]


def test_a_line_with_counts_of_another_kind_is_named(run: Path) -> None:
    append(run, result(1), result(2, checks=["gate.ir"]))

    with pytest.raises(RunError, match=r"results\.jsonl, line 2 .* is no record"):
        look(run)


def test_how_far_it_is_is_told_of_both_files_together(run: Path) -> None:
    append(run, result(1), reject(2), reject(3))
    looker = Looker(run)
    looker.look()

    sizes = [(run / f"{name}.jsonl").stat().st_size for name in ("results", "rejects")]
    assert looker.told == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]


def test_lines_that_came_after_the_look_at_the_keys_wait_for_the_next(run: Path) -> None:
    looker = Looker(run)
    append(run, result(1), reject(2), reject(3))
    looker.rejects.follow()
    append(run, result(2), reject(4))

    funnel = looker.funnel.look(lambda _, __: None)

    assert (funnel.steps["records"], funnel.steps["accepted"]) == (3, 1)
    assert looker.look().steps["records"] == 4


CHECKS = st.dictionaries(
    st.sampled_from(["gate.cap", "gate.ir"]),
    st.lists(
        st.builds(
            lambda pair, what: {**({} if pair is None else {"pair": pair}), **what},
            st.none() | st.integers(0, 2),
            st.sampled_from([FLAG, DROP]),
        ),
        max_size=3,
    ),
)
OTHERS = st.lists(
    st.fixed_dictionaries(
        {"attempt": st.integers(1, 3), "reason": st.sampled_from(["parse.empty", "gate.ir"])}
    ),
    max_size=2,
)
NUMBERS = st.integers(0, 6)
REASONS = st.sampled_from(["parse.empty", "gate.ir", "image.not_found", "job.crashed"])
RESULTS = st.builds(
    result, NUMBERS, st.integers(1, 3), attempt=st.integers(1, 3), checks=CHECKS, later=OTHERS
)
REJECTS = st.builds(
    reject,
    NUMBERS,
    REASONS,
    st.integers(1, 4),
    st.sampled_from(["generate", "refine"]),
    checks=CHECKS,
    earlier=OTHERS,
)


@pytest.mark.usefixtures("eager")
@settings(max_examples=50)
@given(pieces=st.lists(st.lists(RESULTS | REJECTS, max_size=6), max_size=4))
def test_looks_at_pieces_and_from_snapshots_find_what_one_look_at_all_finds(
    pieces: list[list[dict[str, Any]]],
) -> None:
    with TemporaryDirectory() as directory:
        run = make_run(Path(directory))
        lasting = Looker(run)
        for piece in pieces:
            for line in piece:
                if is_new(run, line):
                    append(run, line)
            found = lasting.look()

            for cache in run.glob(".*.index"):
                cache.unlink()
            assert look(run) == found
            for cache in run.glob(".*"):
                cache.unlink()
            at_once = look(run)
            assert at_once == found
            assert_counts(run, at_once)


def is_new(run: Path, line: dict[str, Any]) -> bool:
    """Whether the sink would write it."""
    results, rejects = read(run)
    if line["id"] in results:
        return False
    last = rejects.get(line["id"], {"attempts": 0})["attempts"]
    return "reason" not in line or line["attempts"] > last


def assert_counts(run: Path, funnel: FunnelState) -> None:
    """Compare with the files, read as they are."""
    results, rejects = read(run)
    counting = {number: line for number, line in rejects.items() if number not in results}
    assert funnel.steps["accepted"] == len(results)
    assert funnel.steps["records"] == len(results) + len(counting)
    assert sum(funnel.attempts.values()) == funnel.steps["records"]
    assert {reason: count.count for reason, count in funnel.rejects.items()} == {
        reason: sum(line["reason"] == reason for line in counting.values())
        for reason in {line["reason"] for line in counting.values()}
    }


def read(run: Path) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Return results and rejects by number, the last of each."""
    files = [run / "results.jsonl", run / "rejects.jsonl"]
    data = [path.read_bytes() if path.exists() else b"" for path in files]
    results, rejects = ([orjson.loads(line) for line in part.splitlines()] for part in data)
    return {line["id"]: line for line in results}, {line["id"]: line for line in rejects}
