"""What becomes of each row of an input file, good or bad."""

import io
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextvqa.errors import UsageError
from producer import rows
from producer.prompt import DEFAULT_PROMPT
from producer.rows import BadRow, Row, read_rows

Save = Callable[[bytes], Path]
T = TypeVar("T")


def row(number: int, **fields: Any) -> Row:
    return Row(**{"number": number, "id": None, "prompt": DEFAULT_PROMPT, **fields})


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write bytes to an input file."""

    def write(content: bytes) -> Path:
        path = tmp_path / "input.json"
        path.write_bytes(content)
        return path

    return write


def only_message(items: Iterable[Row | BadRow]) -> str:
    [item] = items
    assert isinstance(item, BadRow)
    assert item.number == 1
    return item.message


# --- Either format -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_array", [True, False])
def test_one_bad_row_costs_no_other(save: Save, is_array: bool) -> None:
    lines = [b'{"image": "a.png"}', b'{"image": 5}', b'{"image": "c.png"}']
    path = save(b"[" + b",\n".join(lines) + b"]" if is_array else b"\n".join(lines))

    first, bad, last = read_rows(path)

    assert first == row(1, image=("a.png",))
    place = "byte 22" if is_array else "line 2"
    assert bad == BadRow(
        number=2,
        message=f"{place}: `image` is a number (5); expected a path or a list of paths.",
    )
    assert last == row(3, image=("c.png",))


@pytest.mark.parametrize(
    "text",
    [
        b'{"image": NaN}',
        b'{"image": "a.png", "note": NaN}',
        b'{"image": "a.png", "note": -Infinity}',
        b'{"image": "a.png", "note": 1e999}',
        b'{"image": "a.png", "note": %b}' % (b"9" * 5000),
        b'{"image": "a.png", "note": %b1%b}' % (b"[" * 2000, b"]" * 2000),
        b'{"image": "caf\xe9.png"}',
        b'{"image": "\\ud800"}',
        b'{"image": "tab\there.png"}',
        b"{'image': 'a.png'}",
        b'{"image": "a.png",}',
        b'{"image": "a.png"}}',
        b'{"image": "a.png"} {}',
        b"{image}",
    ],
    ids=lambda text: text[:40].decode(errors="replace"),
)
@pytest.mark.parametrize("is_array", [True, False])
def test_a_row_that_is_no_json_is_one_bad_row(save: Save, is_array: bool, text: bytes) -> None:
    lines = [b'{"image": "a.png"}', text, b'{"image": "c.png"}']
    path = save(b"[" + b", ".join(lines) + b"]" if is_array else b"\n".join(lines))

    first, bad, last = read_rows(path)

    assert isinstance(bad, BadRow)
    assert bad.number == 2
    assert bad.message.startswith("byte 22: no JSON: " if is_array else "line 2: no JSON: ")
    assert " (its character " in bad.message
    assert (first, last) == (row(1, image=("a.png",)), row(3, image=("c.png",)))


@pytest.mark.parametrize("is_array", [True, False])
@pytest.mark.parametrize("number", [b"18446744073709551616", b"-9223372036854775809", b"9" * 300])
def test_a_number_beyond_64_bits_matters_only_as_an_id(
    save: Save, number: bytes, is_array: bool
) -> None:
    fields = b'{"image": "a.png", "note": %b}', b'{"image": "a.png", "id": %b}'
    lines = [field % number for field in fields]
    path = save(b"[" + b",".join(lines) + b"]" if is_array else b"\n".join(lines))

    good, bad = read_rows(path)

    assert good == row(1, image=("a.png",))
    assert isinstance(bad, BadRow)
    assert "64 bits" in bad.message


@pytest.mark.parametrize("is_array", [True, False])
def test_a_row_without_end_is_refused_without_filling_the_memory(
    tmp_path: Path, is_array: bool
) -> None:
    path = tmp_path / "large"
    start, delimiter, end = (b"[", b",", b"]") if is_array else (b"", b"\n", b"")
    with path.open("wb") as file:
        file.write(start + b'{"image": "a.png"}' + delimiter + b'{"image": "')
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b'"}' + delimiter + b'{"image": "c.png"}' + end)

    (first, bad, last), peak_bytes = with_peak_bytes(lambda: list(read_rows(path)))

    assert (first, last) == (row(1, image=("a.png",)), row(3, image=("c.png",)))
    assert isinstance(bad, BadRow)
    place = "byte 21" if is_array else "line 2"
    expected = "longer than 16,777,216 bytes; expected one row in JSON"
    assert bad.message == f"{place}: {expected}."
    assert peak_bytes < 4 * rows.MAX_ROW_BYTES


@pytest.mark.parametrize("is_array", [True, False])
def test_rows_of_the_most_bytes_are_read(
    save: Save, monkeypatch: pytest.MonkeyPatch, is_array: bool
) -> None:
    most, longer = b'{"image": "a.png"}', b'{"image": "bb.png"}'
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", len(most) + (not is_array))  # A line has its end.
    path = save(b"[%b,%b]" % (most, longer) if is_array else most + b"\n" + longer + b"\n")

    good, bad = read_rows(path)

    assert isinstance(good, Row)
    assert isinstance(bad, BadRow)
    assert "longer than" in bad.message


def with_peak_bytes(call: Callable[[], T]) -> tuple[T, int]:
    """Return what a call returns, and the most memory that it held."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- JSONL ---------------------------------------------------------------------------------------


def test_blank_lines_are_skipped_and_lines_still_named_right(save: Save) -> None:
    path = save(b'\n\n{"image": "a.png"}\n  \r\n{"image": 5}\r\n\n{"image": "b.png"}')

    first, bad, last = read_rows(path)

    assert first == row(1, image=("a.png",))
    assert bad.number == 2
    assert isinstance(bad, BadRow)
    assert bad.message.startswith("line 5: `image` is a number (5)")
    assert last == row(3, image=("b.png",))


# --- Arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 140))
def test_blocks_may_end_at_any_byte(save: Save, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    text = (
        ' [ {"image": ["a, [\\"}.png", "\\\\"], "n": [[[[[[0]]]]], {}]}\n, NaN,{"image": "é"} ] \n'
    )
    path = save(text.encode())
    expected = list(read_rows(path))

    monkeypatch.setattr(rows, "READ_BYTES", size)

    assert list(read_rows(path)) == expected
    first, bad, last = expected
    assert first == row(1, image=('a, ["}.png', "\\"))
    assert isinstance(bad, BadRow)
    assert bad.message.startswith(f"byte {text.index('NaN') + 1}: no JSON")
    assert last == row(3, image=("é",))


@pytest.mark.parametrize(
    "rest", [b"", b" ", b", ", b', {"image": "c.pn', b', {"image": [{}], ', b",["]
)
def test_a_cut_array_yields_its_whole_rows_then_one_bad_row(save: Save, rest: bytes) -> None:
    content = b'[{"image": "a.png"},\n {"image": "b.png"}' + rest

    *good, bad = read_rows(save(content))

    assert good == [row(1, image=("a.png",)), row(2, image=("b.png",))]
    assert isinstance(bad, BadRow)
    assert bad.number == 3
    assert bad.message.startswith("the array breaks off: from byte ")
    assert f"to the end of the input, byte {len(content)}, " in bad.message
    assert "\n" not in bad.message


@pytest.mark.parametrize("text", [b'{"image": "b.png}', b'{"image": ["b.png"}'])
def test_a_quote_or_bracket_left_open_costs_what_follows_and_says_where_it_was(
    save: Save, text: bytes
) -> None:
    content = b'[{"image": "a.png"},\n ' + text + b',\n {"image": "c.png"}]'

    good, bad = read_rows(save(content))

    assert good == row(1, image=("a.png",))
    assert isinstance(bad, BadRow)
    assert f"from byte 23 to the end of the input, byte {len(content)}" in bad.message


@pytest.mark.parametrize("more", [b"x", b"]", b", {}", b' \n [{"image": "c.png"}]', b"\0"])
@pytest.mark.parametrize("array", [b"[]", b'[{"image": "a.png"}]'])
def test_text_after_the_array_is_a_bad_row(save: Save, array: bytes, more: bytes) -> None:
    *good, bad = read_rows(save(array + more))

    assert good == [row(1, image=("a.png",))][: b"a.png" in array]
    place = len(array + more) - len(more.lstrip()) + 1
    assert bad.number == len(good) + 1
    assert isinstance(bad, BadRow)
    assert bad.message.startswith(f"byte {place}: there is more after the array's closing ']'")


def test_blanks_around_the_array_do_not_matter(save: Save) -> None:
    assert list(read_rows(save(b'\n[{"image": "a.png"}]' + b" \r\n\t" * 50_000))) == [
        row(1, image=("a.png",))
    ]


def test_places_count_bytes_from_the_start_of_the_file_and_characters_from_that_of_the_row(
    save: Save,
) -> None:
    path = save('\ufeff\n[{"image": "é"},\n\n  {"é":\n NaN}]'.encode())

    _, bad = read_rows(path)

    assert isinstance(bad, BadRow)
    assert bad.message.startswith("byte 26: no JSON: ")
    assert bad.message.endswith(" (its character 8); expected one row.")


def test_missing_rows_between_commas_are_bad_rows(save: Save) -> None:
    found = list(read_rows(save(b'[, {"image": "b.png"}, , {"image": "d.png"}, ]')))

    assert [type(item) for item in found] == [BadRow, Row, BadRow, Row, BadRow]
    assert [item.message[:8] for item in found if isinstance(item, BadRow)] == [
        "byte 2: ",
        "byte 24:",
        "byte 46:",
    ]


@pytest.mark.parametrize(
    "text", [b'{"image": 5]', b'[{"image": 5]}', b"}", b'{"image": 5}}', b"{]"]
)
def test_brackets_of_the_wrong_kind_cost_one_row(save: Save, text: bytes) -> None:
    content = b'[{"image": "a.png"}, ' + text + b', {"image": "c.png"}]'

    first, item, last = read_rows(save(content))

    assert (first, last) == (row(1, image=("a.png",)), row(3, image=("c.png",)))
    assert isinstance(item, BadRow)
    assert item.message.startswith("byte 22: no JSON: ")


def test_an_array_broken_far_behind_its_start_yields_all_rows_before(save: Save) -> None:
    content = b"[" + b'{"image": "a.png"},' * 20_000 + b"oops"

    *good, bad = read_rows(save(content))

    assert good == [row(number, image=("a.png",)) for number in range(1, 20_001)]
    assert isinstance(bad, BadRow)
    assert bad.number == 20_001


def test_an_array_cut_at_its_first_row_is_not_called_empty(save: Save) -> None:
    assert "from byte 1 to the end of the input, byte 1," in only_message(read_rows(save(b"[")))


# --- The file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n \t\r\n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("content", [b'[{"image": "\xc3\xa9.png"}]', b'{"image": "\xc3\xa9.png"}'])
def test_a_byte_order_mark_and_leading_blanks_do_not_matter(
    save: Save, start: bytes, content: bytes
) -> None:
    assert list(read_rows(save(start + content))) == [row(1, image=("é.png",))]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", b" [ \n ] \n"])
def test_an_input_without_rows_is_a_usage_error(save: Save, content: bytes) -> None:
    path = save(content)

    with pytest.raises(UsageError, match="holds no rows") as caught:
        list(read_rows(path))

    assert repr(str(path)) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"image,prompt\na.png,x\n", "is not JSON: it begins with 'image,prompt"),
        (b'"a.png"', "is not JSON: it begins with '\"a.png\"'"),
        ("Überschrift der Tabelle".encode(), "is not JSON: it begins with 'Überschrift"),
        ('{"image": "a.png"}'.encode("utf-16"), "is not UTF-8: it begins with the bytes ff fe 7b"),
        (b"\x1f\x8b\x08\x00", "is not UTF-8: it begins with the bytes 1f 8b 08 00"),
        (b"\xef\xbb", "is not JSON"),
    ],
)
def test_an_input_in_another_format_is_named_by_its_start(
    save: Save, content: bytes, found: str
) -> None:
    with pytest.raises(UsageError) as caught:
        list(read_rows(save(content)))

    assert found in str(caught.value)
    assert "expected '[' (a JSON array) or '{' (JSONL)" in str(caught.value)


@pytest.mark.parametrize("name", ["gone.json", "a\0b.json", "x" * 300])
def test_an_input_that_is_not_there_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"Input .* cannot be read: .+\."):
        list(read_rows(tmp_path / name))


def test_a_directory_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        list(read_rows(tmp_path))


def test_a_file_that_may_not_be_read_is_a_usage_error(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(b"[]")
    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        list(read_rows(path))


def test_a_file_system_that_fails_in_mid_read_is_a_usage_error(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            if self.tell() > 1:
                raise OSError(116, "Stale file handle")
            return super().readline(size)

    path = save(b"")
    monkeypatch.setattr(Path, "open", lambda *_: Failing(b'{"image": "a.png"}\n{}\n'))
    items = read_rows(path)

    assert next(items) == row(1, image=("a.png",))
    with pytest.raises(UsageError, match="Stale file handle"):
        next(items)


@pytest.mark.parametrize("content", [b'[{"image": "a.png"}]', b'{"image": "a.png"}\n'])
def test_a_dash_reads_standard_input_and_leaves_it_open(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(content))
    monkeypatch.setattr("sys.stdin", stdin)

    assert list(read_rows(Path("-"))) == [row(1, image=("a.png",))]
    assert not stdin.buffer.closed


def test_empty_standard_input_is_named_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))

    with pytest.raises(UsageError, match="Input standard input holds no rows"):
        list(read_rows("-"))


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[b'[{"image": "a.png"}]'])
    writer.start()

    assert list(read_rows(path)) == [row(1, image=("a.png",))]
    writer.join()


def test_a_reader_that_stops_early_closes_the_file(save: Save) -> None:
    items = read_rows(save(b'{"image": "a.png"}\n' * 10))
    next(items)

    items.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_array", [True, False])
def test_a_hundred_thousand_rows_stream_in_constant_memory(tmp_path: Path, is_array: bool) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(100_000):
            value = {"image": f"images/{number:09}.png", "id": number, "note": "x" * 100}
            start = (b"[" if number == 0 else b",\n") if is_array else b""
            file.write(start + orjson.dumps(value) + (b"" if is_array else b"\n"))
        file.write(b"]" if is_array else b"")
    assert path.stat().st_size > 15_000_000

    num_rows, peak_bytes = with_peak_bytes(
        lambda: sum(isinstance(item, Row) for item in read_rows(path))
    )

    assert num_rows == 100_000
    assert peak_bytes < 2_000_000


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image", "conversation", "id", "from", "value"]), inner)
    ),
    max_leaves=10,
)


@given(st.lists(values, min_size=1, max_size=5))
def test_any_json_becomes_one_row_or_bad_row_each(
    tmp_path_factory: pytest.TempPathFactory, items: list[object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(orjson.dumps(items))

    read_back = list(read_rows(path))

    assert [item.number for item in read_back] == list(range(1, len(items) + 1))
