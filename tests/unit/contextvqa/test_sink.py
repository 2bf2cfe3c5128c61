"""The sink: whole lines, each key once, durable or refused."""

import errno
import fcntl
import multiprocessing
import os
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from contextvqa.errors import RunError, SinkError
from contextvqa.settings import Sampling
from contextvqa.storage.key_index import KeyIndex
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.storage.sink import Line, Sink


def line(number: int, *, size: int = 10) -> Line:
    return line_of({"id": number, "text": "x" * size, "meta": {"attempt": 1}}, is_result=True)


def reject(number: int, attempts: int = 1) -> Line:
    return line_of({"id": number, "attempts": attempts, "meta": {}}, is_result=False)


def line_of(fields: dict[str, Any], *, is_result: bool) -> Line:
    key = fields["meta"]["key"] = f"{fields['id']:032x}"
    data = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    return Line(key=key, data=data, is_result=is_result)


@pytest.fixture
def directory(runs_dir: Path) -> RunDirectory:
    directory = RunDirectory(runs_dir, "test")
    directory.begin("model", Sampling(), "in.json")
    return directory


def ids(path: Path) -> list[int]:
    return [orjson.loads(row)["id"] for row in path.read_bytes().splitlines()]


def test_lines_are_in_their_files_in_order_when_append_returns(directory: RunDirectory) -> None:
    sink = Sink(directory)

    assert sink.append([line(1), reject(2), line(3)]) == 3

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
    sink.append([reject(1), line(2)])

    assert sink.append([line(1), reject(2)]) == 1

    assert ids(directory.results_path) == [2, 1]
    assert ids(directory.rejects_path) == [1]


def test_a_record_is_rejected_once_an_attempt_and_never_for_an_earlier_one(
    directory: RunDirectory,
) -> None:
    first, second = Sink(directory), Sink(directory)
    first.append([reject(1), reject(1)])

    assert second.append([reject(1)]) == 0
    assert second.append([reject(1, 3)]) == 1
    assert first.append([reject(1, 2), reject(1, 3)]) == 0
    assert first.append([reject(1, 4), reject(1, 5), reject(1, 4)]) == 2

    rows = [orjson.loads(row) for row in directory.rejects_path.read_bytes().splitlines()]
    assert [row["attempts"] for row in rows] == [1, 3, 4, 5]


def test_a_success_and_a_failure_of_one_batch_are_a_success(directory: RunDirectory) -> None:
    assert Sink(directory).append([reject(1), line(1)]) == 1

    assert ids(directory.results_path) == [1]
    assert ids(directory.rejects_path) == []


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

    with pytest.raises(RunError, match=r"results\.jsonl, line 2 \(byte \d+\) is no record"):
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


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made durable, by file name, in order."""
    names: list[str] = []
    real_fsync = os.fsync

    def note(descriptor: int) -> None:
        real_fsync(descriptor)
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", note)
    return names


def break_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)


def test_names_are_durable_before_lines_and_results_before_rejects(
    directory: RunDirectory, synced: list[str]
) -> None:
    Sink(directory).append([reject(1), line(2)])

    assert synced == ["test", "results.jsonl", "rejects.jsonl"]


def test_a_line_whose_writer_died_before_its_fsync_is_durable_before_it_counts_as_there(
    directory: RunDirectory, synced: list[str]
) -> None:
    sink = Sink(directory)
    with directory.results_path.open("ab") as file:
        file.write(line(1).data)
    synced.clear()

    assert sink.append([line(1)]) == 0
    assert synced == ["results.jsonl"]

    assert sink.append([line(1)]) == 0
    assert synced == ["results.jsonl"]


def test_after_a_failed_fsync_its_batch_is_taken_back_and_nothing_more_is_written(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(directory)
    sink.append([line(1)])

    with monkeypatch.context() as broken:
        break_fsync(broken)
        with pytest.raises(SinkError, match="Input/output error"):
            sink.append([line(2)])

    with pytest.raises(SinkError, match="Input/output error"):
        sink.append([line(3)])
    assert ids(directory.results_path) == [1]


@pytest.mark.parametrize("is_short", [True, False])
def test_what_cannot_be_taken_back_either_is_named_with_the_command_that_cuts_it(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, is_short: bool
) -> None:
    sink = Sink(directory)
    sink.append([line(1)])
    size = directory.results_path.stat().st_size

    def fail(*_: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", fail)
        if is_short:
            real_write = os.write
            broken.setattr(os, "write", lambda fd, data: real_write(fd, data[:40]))
        else:
            break_fsync(broken)
        command = f"`truncate -s {size} {directory.results_path}`"
        with pytest.raises(SinkError, match=re.escape(command)):
            sink.append([line(2)])

    os.truncate(directory.results_path, size)
    assert Sink(directory).append([line(2)]) == 1
    assert ids(directory.results_path) == [1, 2]


def test_results_of_a_batch_whose_rejects_cannot_be_written_stay_and_are_found(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(directory)
    batch = [line(1), reject(2)]
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        if b"attempts" in data:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return real_write(descriptor, data)

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", write)
        with pytest.raises(SinkError, match=r"rejects\.jsonl: Disk quota exceeded"):
            sink.append(batch)

    assert Sink(directory).append(batch) == 1
    assert ids(directory.results_path) == [1]
    assert ids(directory.rejects_path) == [2]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, RunError),
        (errno.EPERM, RunError),
        (errno.EIO, SinkError),
        (errno.EROFS, SinkError),
        (errno.EMFILE, SinkError),
    ],
)
def test_a_file_that_cannot_be_opened_costs_its_run_and_a_sick_device_all_of_them(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", fail)
        with pytest.raises(kind, match=f"cannot open .*results.jsonl: {os.strerror(code)}"):
            Sink(directory)


def test_what_is_no_file_at_all_costs_its_run(directory: RunDirectory) -> None:
    directory.results_path.mkdir()
    with pytest.raises(RunError, match="Is a directory"):
        Sink(directory)

    directory.results_path.rmdir()
    os.mkfifo(directory.results_path)
    with pytest.raises(RunError, match="is no regular file"):
        Sink(directory)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_as_such(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    sink = Sink(directory)

    def fail(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fail)

    with pytest.raises(SinkError, match="its file system has no locks"):
        sink.append([line(1)])


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

    with pytest.raises(RunError, match="was removed, replaced or cut"):
        sink.append([line(3)])


def test_a_run_that_was_never_begun_here_is_not_written_to(runs_dir: Path) -> None:
    with pytest.raises(RunError, match="a refiner needs the --runs-dir"):
        Sink(RunDirectory(runs_dir, "elsewhere"))


def test_lines_longer_than_a_read_are_followed(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contextvqa.storage.follower.CHUNK_BYTES", 64)
    Sink(directory).append([line(1, size=1000), line(2), line(3, size=500)])

    index = KeyIndex(directory.results_path)
    index.follow()

    assert (index.num_lines, len(index)) == (3, 3)


def test_an_index_knows_last_attempts_and_repeated_keys_and_may_go_on_after_damage(
    directory: RunDirectory,
) -> None:
    lines = [reject(1, 2), reject(2), reject(1), reject(3)]
    damaged = b'{"meta": {"key": 7}}\n[1]\n\n{"attempts": 0, "meta": {"key": "00"}}\n'
    directory.rejects_path.write_bytes(
        b"".join(item.data for item in lines[:2]) + damaged + lines[2].data + lines[3].data[:-1]
    )
    found: list[RunError] = []
    index = KeyIndex(directory.rejects_path, found.append)

    index.follow()

    assert [index.attempt(item.key) for item in lines] == [2, 1, 2, 0]
    assert index.repeated == {bytes.fromhex(lines[0].key)}
    assert (len(index), index.num_lines, index.num_damaged) == (2, 7, 4)
    numbers = [re.findall(r"jsonl, line (\d+) ", str(error)) for error in found]
    assert numbers == [["3"], ["4"], ["5"], ["6"]]


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
