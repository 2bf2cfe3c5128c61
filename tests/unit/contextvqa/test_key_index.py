"""The index of a file knows what is in the file, whatever lies beside it."""

import errno
import multiprocessing
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextvqa.errors import RunError, SinkError
from contextvqa.storage import follower, key_index, snapshot
from contextvqa.storage.durable_file import DurableFile
from contextvqa.storage.key_index import KeyIndex, Keys
from contextvqa.storage.snapshot import durable_bytes, load, path_of

#: More than the end by which a file is recognized.
LONG = 5000


def key(number: int) -> str:
    return f"{number:032x}"


def line(number: int, attempt: int = 1, *, size: int = 0) -> bytes:
    fields = {"meta": {"key": key(number), "attempt": attempt}, "vqa": "x" * size}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


def followed(path: Path) -> KeyIndex:
    index = KeyIndex(path)
    index.follow()
    return index


def numbers(index: KeyIndex) -> set[int]:
    return {number for number in range(100) if key(number) in index}


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an index write a snapshot whenever anything is new, and wait for no lock."""
    monkeypatch.setattr(snapshot, "LOCK_WAIT_S", 0)
    monkeypatch.setattr(follower, "SAVE_BYTES", 1)
    monkeypatch.setattr(follower, "SAVE_SHARE", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that were read."""
    lines: list[bytes] = []
    real = key_index.entry_of

    def entry_of(data: bytes) -> tuple[bytes, int]:
        lines.append(data)
        return real(data)

    monkeypatch.setattr(key_index, "entry_of", entry_of)
    return lines


ENTRIES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=30)


@pytest.mark.usefixtures("eager")
@given(parts=st.lists(ENTRIES, max_size=6), others=ENTRIES)
def test_indexes_that_went_on_from_snapshots_and_from_memory_know_what_a_dict_knows(
    parts: list[list[tuple[int, int]]], others: list[tuple[int, int]]
) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr("contextvqa.storage.key_set.SEGMENT_KEYS", 4)
        path, other = Path(directory) / "results.jsonl", Path(directory) / "rejects.jsonl"
        append(other, *(line(*entry) for entry in others))
        entries: list[tuple[int, int]] = []
        lasting = KeyIndex(path)
        for part in parts:
            entries += part
            append(path, *(line(*entry) for entry in part))
            lasting.follow()
            for index in (lasting, followed(path)):
                check(index, entries)
                assert index.count_outside(followed(other)) == outside(entries, others)
                assert followed(other).count_outside(index) == outside(others, entries)


def outside(these: list[tuple[int, int]], those: list[tuple[int, int]]) -> int:
    return len({number for number, _ in these} - {number for number, _ in those})


def check(index: KeyIndex, entries: list[tuple[int, int]]) -> None:
    last: dict[int, int] = {}
    repeated = set()
    for number, attempt in entries:
        if number in last:
            repeated.add(bytes.fromhex(key(number)))
        last[number] = max(attempt, last.get(number, 0))
    assert {number: index.attempt(key(number)) for number in range(41)} == {
        number: last.get(number, 0) for number in range(41)
    }
    assert numbers(index) == last.keys()
    assert index.select([key(number) for number in range(41)]) == set(map(key, last))
    assert (len(index), index.num_lines, index.repeated) == (len(last), len(entries), repeated)


def test_the_next_process_reads_only_what_is_new(path: Path, read: list[bytes]) -> None:
    append(path, line(1), line(2), line(2))
    followed(path)
    append(path, line(3))
    read.clear()

    index = followed(path)

    assert read == [line(3)]
    assert numbers(index) == {1, 2, 3}
    assert (index.num_lines, len(index.repeated)) == (4, 1)


def test_who_stops_reading_a_long_file_leaves_what_is_done_to_the_next(
    path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(line(1))
    monkeypatch.setattr(follower, "CHUNK_BYTES", size)
    monkeypatch.setattr(follower, "SAVE_BYTES", size)
    append(path, *(line(number) for number in range(1, 8)))

    def stop(offset: int, _: int) -> None:
        if offset >= 5 * size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        KeyIndex(path).follow(on_read=stop)
    read.clear()

    # What is saved on the way doubles each time.
    assert numbers(followed(path)) == set(range(1, 8))
    assert read == [line(number) for number in range(5, 8)]


def test_a_damaged_line_behind_a_snapshot_is_named_by_its_number_in_the_file(path: Path) -> None:
    append(path, line(1), line(2))
    followed(path)
    append(path, line(3), b'{"meta": {"key": "0a"}}\n')

    with pytest.raises(RunError, match=rf"line 4 \(byte {3 * len(line(1))}\) is no record"):
        followed(path)


SPOILED: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "cut by a byte": lambda data: data[:-1],
    "cut by half": lambda data: data[: len(data) // 2],
    "too long": lambda data: data + b"x",
    "older": lambda data: data.replace(b'"version":2', b'"version":1'),
    "other numbers": lambda data: data.replace(b'"num_lines":3', b'"num_lines":4'),
    "larger than memory": lambda data: data.replace(
        b'"parts":[24,16,32]', b'"parts":[24,16,32,999999999999]'
    ),
    "less than nothing": lambda data: data.replace(b'"parts":[24,16,32]', b'"parts":[24,16,33,-1]'),
    "too deep": lambda _: b"[" * 100_000 + b"\n",
    "no text": lambda _: b"\xff" * 100,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_snapshot_that_is_missing_damaged_or_of_another_version_is_made_anew(
    path: Path, read: list[bytes], spoil: Callable[[bytes], bytes | None]
) -> None:
    append(path, line(1), line(2), line(2, 3))
    followed(path)
    cache = path_of(path, Keys.what)
    sound = cache.read_bytes()
    spoiled = spoil(sound)
    assert spoiled != sound
    if spoiled is None:
        cache.unlink()
    else:
        cache.write_bytes(spoiled)
    read.clear()

    index = followed(path)

    assert len(read) == 3
    assert (numbers(index), index.attempt(key(2)), index.num_lines) == ({1, 2}, 3, 3)
    assert cache.read_bytes() == sound


def test_no_flipped_bit_of_a_snapshot_is_believed(path: Path, read: list[bytes]) -> None:
    append(path, line(1), line(2), line(2, 3))
    followed(path)
    cache = path_of(path, Keys.what)
    sound = cache.read_bytes()
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        cache.write_bytes(damaged)
        read.clear()

        assert numbers(followed(path)) == {1, 2}

        assert len(read) == 3, place


def test_a_snapshot_of_another_file_is_not_believed(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    append(path, line(1))
    append(other, line(2))
    followed(other)
    path_of(other, Keys.what).rename(path_of(path, Keys.what))

    assert numbers(followed(path)) == {1}


CHANGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, 2 * len(line(1))),
    "emptied": lambda path: os.truncate(path, 0),
    "line removed in place": lambda path: path.write_bytes(
        b"".join(path.read_bytes().splitlines(keepends=True)[1:])
    ),
    "last line edited in place": lambda path: path.write_bytes(
        path.read_bytes().replace(line(3), line(4))
    ),
    "replaced by one that ends alike": lambda path: replace(
        path, path.read_bytes().replace(line(1), line(5))
    ),
    "cut and grown": lambda path: path.write_bytes(
        line(6) + line(7, size=LONG) + line(8) + line(9)
    ),
}


def replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_file_that_changed_under_its_snapshot_or_under_an_index_is_read_anew(
    path: Path, change: Callable[[Path], object]
) -> None:
    append(path, line(1), line(2, size=LONG), line(3))
    lasting = followed(path)

    change(path)
    lasting.follow()

    there = {
        int(orjson.loads(row)["meta"]["key"], 16)
        for row in path.read_bytes().splitlines(keepends=True)
        if row.endswith(b"\n")
    }
    assert numbers(followed(path)) == there
    assert numbers(lasting) == there


def break_fsync(monkeypatch: pytest.MonkeyPatch, code: int, *, of_snapshots: bool) -> None:
    """Let the disk fail for snapshots, or for all but them."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.endswith(".part") == of_snapshots:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_batch_that_was_taken_back_is_in_no_snapshot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a writer whose disk takes a batch back
    writer = DurableFile(path)
    with writer.locked(), monkeypatch.context() as broken:
        writer.catch_up()
        writer.append([line(1)])
        break_fsync(broken, errno.EIO, of_snapshots=False)
        with pytest.raises(SinkError):
            writer.append([line(2), line(9, size=LONG)])

    # When another one writes a batch that is as long and ends alike
    append(path, line(3), line(9, size=LONG))

    assert numbers(followed(path)) == {1, 3, 9}


def test_what_was_read_while_a_batch_was_under_way_is_in_no_snapshot(path: Path) -> None:
    # Given a reader that saw a batch before it was taken back
    append(path, line(1))
    size = path.stat().st_size
    with DurableFile(path).locked():
        append(path, line(2), line(9, size=LONG))
        reader = followed(path)
        assert numbers(reader) == {1, 2, 9}
        os.truncate(path, size)

    # When another batch of its length and end is there
    append(path, line(3), line(9, size=LONG))
    reader.follow()

    assert numbers(followed(path)) == {1, 3, 9}


def test_a_snapshot_ends_where_the_file_ended_while_nobody_wrote(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_a_batch_comes(of: Path) -> int:
        size = durable_bytes(of)
        append(of, line(3))
        return size

    monkeypatch.setattr(snapshot, "durable_bytes", then_a_batch_comes)
    append(path, line(1), line(2))

    assert numbers(followed(path)) == {1, 2, 3}

    with path.open("rb") as file:
        keys = Keys()
        place = load(path_of(path, Keys.what), file, keys)
    assert place is not None
    assert (place.num_lines, len(keys.keys)) == (2, 2)


def test_a_reader_leaves_the_snapshot_to_whoever_took_the_lock_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(path, line(1))
    with ExitStack() as locks:

        def then_a_writer_comes(of: Path) -> int:
            size = durable_bytes(of)
            locks.enter_context(DurableFile(of).locked())
            return size

        monkeypatch.setattr(snapshot, "durable_bytes", then_a_writer_comes)

        assert numbers(followed(path)) == {1}
        assert not path_of(path, Keys.what).exists()


def test_a_reader_waits_for_a_writer_that_is_soon_done(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LOCK_WAIT_S", 60)
    append(path, line(1))
    with ExitStack() as locks:
        locks.enter_context(DurableFile(path).locked())
        monkeypatch.setattr("contextvqa.storage.snapshot.time.sleep", lambda _: locks.close())

        assert numbers(followed(path)) == {1}

    assert path_of(path, Keys.what).exists()


def test_a_writer_leaves_snapshots_and_its_lines_are_durable_first(
    path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    writer = DurableFile(path)
    with writer.locked():
        writer.catch_up()
        writer.append([line(1), line(2)])
    assert synced == ["results.jsonl", ".results.jsonl.index.part"]
    read.clear()

    assert numbers(followed(path)) == {1, 2}
    assert read == []


def test_a_snapshot_is_written_once_enough_is_new_by_whoever_comes_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "SAVE_BYTES", 3 * len(line(1)))
    monkeypatch.setattr(follower, "SAVE_SHARE", 0.5)
    cache = path_of(path, Keys.what)
    first, second = DurableFile(path), DurableFile(path)

    def num_covered(writer: DurableFile, *these: int) -> int:
        with writer.locked():
            writer.catch_up()
            writer.append([line(number) for number in these])
        header = cache.read_bytes().split(b"\n")[0] if cache.exists() else b'{"num_lines":0}'
        return int(orjson.loads(header)["num_lines"])

    assert num_covered(first, 1, 2) == 0
    assert num_covered(first, 3) == 3
    assert num_covered(second, 4) == 3
    assert num_covered(second, 5, 6) == 6
    assert num_covered(first, 7, 8) == 6
    assert num_covered(first, 9) == 9
    assert num_covered(first, 10, 11, 12, 13) == 9
    assert num_covered(first, 14) == 14


@pytest.mark.parametrize("what", ["forbidden", "full"])
def test_where_no_snapshot_can_be_written_the_old_one_stays_and_nothing_else_happens(
    path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    append(path, line(1))
    followed(path)
    append(path, line(2))
    before = path_of(path, Keys.what).read_bytes()
    with monkeypatch.context() as broken:
        if what == "forbidden":
            refuse_writing(broken)
        else:
            break_fsync(broken, errno.ENOSPC, of_snapshots=True)

        assert numbers(followed(path)) == {1, 2}

    assert path_of(path, Keys.what).read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [
        ".results.jsonl.index",
        "results.jsonl",
    ]


def refuse_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system be read-only; the tests' user may be root, whom no mode stops."""
    real = Path.open

    def open_to_read(path: Path, mode: str = "r") -> Any:
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, mode)

    monkeypatch.setattr(Path, "open", open_to_read)


def test_an_index_that_looks_for_damage_reads_every_line_and_leaves_no_snapshot(
    path: Path,
) -> None:
    append(path, line(1), line(2), line(2), line(3, size=LONG))
    followed(path)
    # In place, of the same length, and far from the end: what only a whole reading can find
    path.write_bytes(path.read_bytes().replace(line(1), b"x" * (len(line(1)) - 1) + b"\n"))
    before = path_of(path, Keys.what).read_bytes()
    found: list[RunError] = []
    index = KeyIndex(path, found.append)

    index.follow()

    assert [index.num_damaged, len(found)] == [1, 1]
    assert (numbers(index), len(index.repeated)) == ({2, 3}, 1)
    assert path_of(path, Keys.what).read_bytes() == before


def write_many(path: Path, start: int) -> None:
    follower.SAVE_BYTES = 1
    follower.SAVE_SHARE = 0
    for number in range(start, start + 30):
        writer = DurableFile(path)
        with writer.locked():
            writer.catch_up()
            if key(number) not in writer.index:
                writer.append([line(number)])
        writer.close()


def test_processes_that_go_on_from_one_anothers_snapshots_write_each_key_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(path, start)) for start in (0, 10, 20)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        followed(path)
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    index = followed(path)
    assert numbers(index) == set(range(50))
    assert (index.num_lines, index.repeated) == (50, set())
