"""The sink: whole lines, each key once, durable or refused."""

import errno
import multiprocessing
import os
from pathlib import Path

import orjson
import pytest

from contextvqa.errors import SinkError
from contextvqa.run_directory import RunDirectory
from contextvqa.settings import Sampling
from contextvqa.sink import KeyIndex, Line, Sink


def line(number: int, *, is_result: bool = True, size: int = 10) -> Line:
    key = f"{number:032x}"
    data = {"id": number, "text": "x" * size, "meta": {"key": key}}
    return Line(
        key=key, data=orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE), is_result=is_result
    )


@pytest.fixture
def directory(runs_dir: Path) -> RunDirectory:
    directory = RunDirectory(runs_dir, "test")
    directory.begin("model", Sampling(), "in.json")
    return directory


def ids(path: Path) -> list[int]:
    return [orjson.loads(row)["id"] for row in path.read_bytes().splitlines()]


def test_lines_are_in_their_files_in_order_when_append_returns(directory: RunDirectory) -> None:
    sink = Sink(directory)

    assert sink.append([line(1), line(2, is_result=False), line(3)]) == 3

    assert ids(directory.results_path) == [1, 3]
    assert ids(directory.rejects_path) == [2]


def test_a_key_is_written_once_within_a_batch_across_batches_and_across_processes(
    directory: RunDirectory,
) -> None:
    first, second = Sink(directory), Sink(directory)
    first.append([line(1), line(1)])
    second.append([line(1), line(2)])

    assert first.append([line(2), line(1)]) == 0

    assert ids(directory.results_path) == [1, 2]


def test_a_late_success_beats_a_failure_and_a_late_failure_is_refused(
    directory: RunDirectory,
) -> None:
    sink = Sink(directory)
    sink.append([line(1, is_result=False), line(2)])

    assert sink.append([line(1), line(2, is_result=False)]) == 1

    assert ids(directory.results_path) == [2, 1]
    assert ids(directory.rejects_path) == [1]


def test_a_record_is_rejected_once(directory: RunDirectory) -> None:
    first, second = Sink(directory), Sink(directory)
    first.append([line(1, is_result=False)])

    assert second.append([line(1, is_result=False)]) == 0

    assert ids(directory.rejects_path) == [1]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_cut_and_its_record_written_again(
    directory: RunDirectory, cut: int
) -> None:
    Sink(directory).append([line(1), line(2)])
    size = directory.results_path.stat().st_size
    os.truncate(directory.results_path, size - cut)

    Sink(directory).append([line(2), line(3)])

    assert ids(directory.results_path) == [1, 2, 3]


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_appended(
    directory: RunDirectory,
) -> None:
    Sink(directory).append([line(1), line(2), line(3)])
    rows = directory.results_path.read_bytes().splitlines(keepends=True)
    rows[1] = b'{"id": 2, "tex\n'
    directory.results_path.write_bytes(b"".join(rows))

    with pytest.raises(SinkError, match=r"results\.jsonl, line 2 \(byte \d+\) is no record"):
        Sink(directory).append([line(4)])

    assert directory.results_path.read_bytes() == b"".join(rows)


def test_a_short_write_is_taken_back_and_reported(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(directory)
    sink.append([line(1)])
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:40]))

    with pytest.raises(SinkError, match="No space left"):
        sink.append([line(2)])

    monkeypatch.undo()
    assert ids(directory.results_path) == [1]
    assert sink.append([line(2)]) == 1


def test_a_failed_fsync_is_taken_back_and_reported(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(directory)
    sink.append([line(1)])

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SinkError, match="Input/output error"):
        sink.append([line(2)])

    assert ids(directory.results_path) == [1]


@pytest.mark.parametrize("what", ["removed", "replaced", "cut"])
def test_a_file_that_somebody_took_away_while_it_was_open_is_not_written_to(
    directory: RunDirectory, what: str
) -> None:
    sink = Sink(directory)
    sink.append([line(1), line(2)])
    path = directory.results_path
    if what == "cut":
        os.truncate(path, 0)
    else:
        copy = path.read_bytes()
        path.unlink()
        if what == "replaced":
            path.write_bytes(copy)

    with pytest.raises(SinkError, match="was removed, replaced or cut"):
        sink.append([line(3)])


def test_a_run_that_was_never_begun_here_is_not_written_to(runs_dir: Path) -> None:
    with pytest.raises(SinkError, match="a refiner needs the --runs-dir"):
        Sink(RunDirectory(runs_dir, "elsewhere"))


def test_lines_longer_than_a_read_are_followed(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contextvqa.sink.CHUNK_BYTES", 64)
    Sink(directory).append([line(1, size=1000), line(2), line(3, size=500)])

    index = KeyIndex(directory.results_path)
    index.follow()

    assert (index.num_lines, len(index)) == (3, 3)


def append_many(runs_dir: Path, start: int) -> None:
    sink = Sink(RunDirectory(runs_dir, "test"))
    for number in range(start, start + 200, 10):
        sink.append([line(item) for item in range(number, number + 10)])


def test_several_processes_append_overlapping_batches_and_each_key_is_there_once(
    runs_dir: Path, directory: RunDirectory
) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=append_many, args=(runs_dir, start)) for start in (0, 100, 150)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert sorted(ids(directory.results_path)) == list(range(350))
