"""The funnel that `status` and `wait` show is what stands in the run's files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from contextvqa.errors import Reason
from contextvqa.gates import NAMES
from contextvqa.records import ImageRecord
from tests.integration.stand_in import BAD, GOOD, lines_of, work_off
from tests.support import run_contextvqa


def text_of(*pairs: tuple[str, str], article: str = "A number.") -> str:
    """Return a text of an article and pairs."""
    return f"{article}\n\n" + "".join(
        f"{number}. Question: {question}\n   Answer: {answer}\n"
        for number, (question, answer) in enumerate(pairs, 1)
    )


TWO = text_of(("Which is it?", "one"), ("How many are these?", "two"))
#: One pair of three is dropped, and one is found fault with.
TWO_OF_THREE = text_of(
    ("Which is it?", "one"), ("Which is it?", "two"), ("How many are these?", "seventeen")
)
NONE_OF_TWO = text_of(("Which is it?", "it"), ("Is it red or blue?", "red"))
REFUSAL = text_of(("Which is it?", "one"), article="I'm sorry, but I can't write about this.")

#: What the model writes of each image, attempt after attempt; None: the image is not there.
TEXTS: dict[str, Sequence[str | None]] = {
    "at once.png": [TWO],
    "with faults.png": [TWO_OF_THREE],
    "second.png": [BAD, TWO],
    "first is best.png": [GOOD, BAD],
    "latest is best.png": [GOOD, GOOD],
    "goes after the first.png": [BAD, None],
    "gone.png": [None],
    "retried in vain.png": [BAD, BAD, BAD, NONE_OF_TWO],
    "retried.png": [BAD, BAD, TWO],
    "refused.png": [REFUSAL, REFUSAL],
    "empty.png": [NONE_OF_TWO, NONE_OF_TWO],
    "also empty.png": [BAD, NONE_OF_TWO],
    "away.png": [None],
    "nowhere.png": [None],
    "missing.png": [None],
}


def write(record: ImageRecord) -> str | None:
    return TEXTS[record.image[0]][record.attempt - 1]


@pytest.fixture
def places(connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path) -> list[object]:
    """A run in which every kind of ending occurs; the options that name its places."""
    assert connection.ping()
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"".join(orjson.dumps({"image": image}) + b"\n" for image in TEXTS))
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    enqueue = ("enqueue", source, "--run", "r", "--enough-pairs", 2)
    assert run_contextvqa(*enqueue, *places).returncode == 0
    for _ in range(2):
        work_off(connection, write, places)
    return places


def funnel_of(places: list[object]) -> dict[str, Any]:
    done = run_contextvqa("status", "r", *places, "--json")
    funnel: dict[str, Any] = orjson.loads(done.stdout)["funnel"]
    return funnel


def test_each_number_is_what_a_count_of_the_lines_gives(
    connection: redis.Redis, places: list[object], runs_dir: Path
) -> None:
    assert funnel_of(places) == count(runs_dir / "r")

    retry = run_contextvqa("retry", "r", "--reason", "parse.no_pairs", *places)
    assert retry.returncode == 0, retry.stderr
    for _ in range(2):
        work_off(connection, write, places)

    funnel = funnel_of(places)
    assert funnel == count(runs_dir / "r")
    # And what the texts above say, so that both cannot be wrong alike:
    assert {step: number for step, number in funnel["steps"].items() if "." not in step} == {
        "records": 15,
        "generated": 10,
        "parsed": 10,
        "accepted": 6,
    }
    assert (funnel["steps"]["gate.refusal"], funnel["steps"]["gate.min_pairs"]) == (9, 6)
    assert funnel["pairs"] == {
        "written": 11,
        "kept": 10,
        "by_written": {"1": 2, "2": 3, "3": 1},
        "by_kept": {"1": 2, "2": 4},
    }
    assert funnel["attempts"] == {"1": 6, "2": 7, "3": 1, "4": 1}
    assert funnel["gates"]["duplicate_question"]["pairs_dropped"] == 1
    assert {reason: reject["example_ids"] for reason, reject in funnel["rejects"].items()} == {
        "image.not_found": [7, 13, 14],
        "gate.min_pairs": [11, 12, 8],
        "gate.refusal": [10],
    }


def test_the_table_and_the_summary_show_it(places: list[object]) -> None:
    lines = run_contextvqa("status", "r", *places).stdout.splitlines()
    summary = run_contextvqa("wait", "r", *places).stderr.splitlines()

    begin = lines.index("  records              15")
    assert lines[begin : begin + 6] == [
        "  records              15",
        "  generated            10   66.7%",
        "  parsed                8   80.0%",
        "  past gate.refusal     7   87.5%",
        "  past gate.min_pairs   5   71.4%",
        "  accepted              5   33.3% of records",
    ]
    assert summary[1] == (
        "  15 records -> 10 generated -> 8 parsed -> 7 past gate.refusal -> "
        "5 past gate.min_pairs -> 5 accepted"
    )
    details = [line for line in lines if line.startswith(("  pairs: ", "  records by attempts "))]
    assert summary[2:4] == details
    assert "  2 x gate.min_pairs, as id 11, 12: 0 pairs passed" in "\n".join(summary)


def count(run: Path) -> dict[str, Any]:
    """Count the lines of a run's files from the beginning, and without the pipeline's own code."""
    results = [lines[0] for lines in lines_of(run, "results").values()]
    rejects = {image: lines[-1] for image, lines in lines_of(run, "rejects").items()}
    rejects = {
        image: line for image, line in rejects.items() if image not in lines_of(run, "results")
    }
    lines = [*results, *rejects.values()]
    # In the order of their own lines
    lasting = sorted(rejects.values(), key=position_in(run / "rejects.jsonl"))
    return {
        "steps": steps(results, lasting),
        "pairs": pairs(results),
        "attempts": texts(sorted(Counter(map(num_attempts, lines)).items())),
        "other_attempts": dict(
            Counter(other["reason"] for line in lines for other in others(line))
        ),
        "gates": gates(lines),
        "rejects": {
            reason: {
                "count": len(group),
                "example_ids": [line["id"] for line in group[:3]],
                "message": group[0]["message"],
            }
            for reason in {line["reason"] for line in lasting}
            if (group := [line for line in lasting if line["reason"] == reason])
        },
    }


def position_in(path: Path) -> Any:
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return lines.index


def texts(items: Any) -> dict[str, int]:
    return {str(number): count for number, count in items}


def others(line: dict[str, Any]) -> list[dict[str, Any]]:
    return [*line["meta"].get("earlier", []), *line["meta"].get("later", [])]


def num_attempts(line: dict[str, Any]) -> int:
    own = line["attempts"] if "reason" in line else line["meta"]["attempt"]
    return max(own, *(other["attempt"] for other in others(line)), 0)


def steps(results: list[dict[str, Any]], rejects: list[dict[str, Any]]) -> dict[str, int]:
    generated = [line for line in rejects if line["stage"] == "refine"]
    parsed = [line for line in generated if not line["reason"].startswith("parse.")]
    counts = {
        "records": len(results) + len(rejects),
        "generated": len(results) + len(generated),
        "parsed": len(results) + len(parsed),
    }
    left = counts["parsed"]
    for reason in [reason for reason in Reason if reason.startswith("gate.")]:
        left -= sum(line["reason"] == reason for line in parsed)
        counts[str(reason)] = left
    return counts | {"accepted": len(results)}


def pairs(results: list[dict[str, Any]]) -> dict[str, Any]:
    kept = [len(line["context_vqa"]["qas"]) for line in results]
    # Each of these texts numbers its pairs.
    written = [line["vqa"].count("Question:") for line in results]
    return {
        "written": sum(written),
        "kept": sum(kept),
        "by_written": texts(sorted(Counter(written).items())),
        "by_kept": texts(sorted(Counter(kept).items())),
    }


def gates(lines: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    findings = [
        (name, "pairs" if "pair" in finding else "articles", finding["action"])
        for line in lines
        for name in NAMES
        for finding in line["meta"].get("checks", {}).get(f"gate.{name}", [])
    ]
    counts = Counter(findings)
    return {
        name: {
            f"{what}_{done}": counts[name, what, action]
            for what in ("articles", "pairs")
            for done, action in (("dropped", "drop"), ("flagged", "flag"))
        }
        for name in {name for name, _, _ in findings}
    }
