"""`contextvqa parse`: JSONL in, JSONL out, and one line for everything it cannot read."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contextvqa.cli import main

GOOD = "The fox is an animal.\n\nQ: What is it?\nA: a fox"
RECORD = {
    "id": "a",
    "context": "The fox is an animal.",
    "qas": [{"question": "What is it?", "answer": "a fox"}],
    "reason": None,
    "layout": "labelled",
    "truncated": False,
    "leftover": {"chars": 0, "begin": ""},
}


def write_lines(path: Path, *lines: bytes | dict[str, Any]) -> str:
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return str(path)


def rows_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "raw.jsonl"


def test_a_file_of_raw_texts_becomes_one_line_each(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(file, {"id": "a", "vqa": GOOD}, {"id": 7, "vqa": "", "finish_reason": "stop"})

    code = main(["parse", str(file)])

    captured = capsys.readouterr()
    assert code == 0
    assert captured.err == ""
    assert rows_of(captured.out) == [
        RECORD,
        {
            **RECORD,
            "id": 7,
            "context": "",
            "qas": [],
            "reason": "parse.empty",
            "layout": None,
        },
    ]


@pytest.mark.parametrize("arguments", [["parse"], ["parse", "-"]], ids=["nothing", "dash"])
def test_without_a_file_standard_input_is_read(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"id": "a", "vqa": GOOD}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))

    assert main(arguments) == 0
    assert rows_of(capsys.readouterr().out) == [RECORD]


def test_the_finish_reason_says_whether_the_last_pair_is_whole(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = ["stop", "length", None]
    write_lines(file, *({"id": "a", "vqa": GOOD, "finish_reason": reason} for reason in reasons))

    assert main(["parse", str(file)]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["reason"] for row in rows] == [None, "parse.truncated", None]
    assert [row["context"] for row in rows] == ["The fox is an animal."] * 3
    assert [row["truncated"] for row in rows] == [False, True, False]


def test_what_is_neither_article_nor_pair_is_counted_and_shown(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chatter = "I hope this helps. " + "Ask me for more! " * 10
    pairs = GOOD.replace("\n\n", "\n\n## Questions\n\n")
    write_lines(file, {"id": "a", "vqa": f"Sure!\n\n# Fox\n\n{pairs}\n\n{chatter}"})

    assert main(["parse", str(file)]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    leftover = f"Sure!\n{chatter.strip()}"
    assert row["leftover"] == {"chars": len(leftover), "begin": leftover[:80]}
    assert {**row, "leftover": RECORD["leftover"]} == RECORD


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"id": 1, "vqa": "\xff"}', "not UTF-8 at byte 19"),
        (b"{'id': 1}", "not JSON"),
        (b'{"id": 1, "vqa": "x"', "not JSON"),
        (b"[1, 2]", "found an array"),
        (b'"text"', "found a string"),
        (b"null", "found null"),
        (b'{"vqa": "x"}', 'no "id"; expected a string or an integer'),
        (b'{"id": null, "vqa": "x"}', '"id" is null'),
        (b'{"id": true, "vqa": "x"}', '"id" is true or false'),
        (b'{"id": 1.5, "vqa": "x"}', '"id" is a number'),
        (b'{"id": 1}', 'no "vqa"; expected a string'),
        (b'{"id": 1, "vqa": {}}', '"vqa" is an object; expected a string'),
        (b'{"id": 1, "vqa": "x", "finish_reason": 3}', '"finish_reason" is an integer'),
    ],
)
def test_a_bad_line_is_reported_by_number_and_the_others_go_on(
    line: bytes, problem: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"id": "a", "vqa": GOOD}
    write_lines(file, good, line, good)

    code = main(["parse", str(file)])

    captured = capsys.readouterr()
    report, summary = captured.err.splitlines()
    assert code == 2
    assert rows_of(captured.out) == [RECORD, RECORD]
    assert report.startswith(f"{file}: line 2: ")
    assert problem in report
    assert "expected" in report
    assert summary.startswith(f"contextvqa: error: 1 of 3 lines of {file} could not be read")


def test_every_bad_line_is_reported(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(file, b"x", {"id": "a", "vqa": GOOD}, b"", b"{}")

    assert main(["parse", str(file)]) == 2
    captured = capsys.readouterr()
    assert [line.split(": ")[1] for line in captured.err.splitlines()[:-1]] == ["line 1", "line 4"]
    assert rows_of(captured.out) == [RECORD]


def test_blank_lines_a_byte_order_mark_and_crlf_are_no_mistakes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = json.dumps({"id": "a", "vqa": GOOD}).encode()
    file.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)

    assert main(["parse", str(file)]) == 0
    assert rows_of(capsys.readouterr().out) == [RECORD, RECORD]


def test_an_empty_file_gives_no_line_and_no_error(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.touch()

    assert main(["parse", str(file)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "problem"), [("none.jsonl", "No such file"), ("", "directory")])
def test_a_file_that_cannot_be_read_ends_the_command_in_one_line(
    name: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["parse", str(tmp_path / name)])

    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert problem in captured.err
    assert str(tmp_path / name) in captured.err


def test_text_outside_of_ascii_is_written_as_it_is(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(file, {"id": "é", "vqa": "法国。\n\n问：哪里？\n答：欧洲"})

    assert main(["parse", str(file)]) == 0
    assert '{"question":"哪里？","answer":"欧洲"}' in capsys.readouterr().out


def start(*arguments: str, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "contextvqa", "parse", *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_leaves_early_ends_the_command_quietly(file: Path) -> None:
    # More than a pipe holds, so that the command is still writing.
    write_lines(file, *[{"id": "a", "vqa": GOOD}] * 2000)

    process = start(str(file), stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate(timeout=60)

    assert err == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_said_in_one_line(file: Path) -> None:
    write_lines(file, {"id": "a", "vqa": GOOD})

    with Path("/dev/full").open("wb") as full:
        _, err = start(str(file), stdout=full.fileno()).communicate(timeout=60)

    assert len(err.splitlines()) == 1
    assert b"No space left on device" in err
