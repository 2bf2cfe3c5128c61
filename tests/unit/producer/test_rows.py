"""What becomes of each row of an input file, good or bad."""

import io
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextvqa.errors import UsageError
from producer import rows
from producer.prompt import DEFAULT_PROMPT
from producer.rows import BadRow, Row, read_rows

Save = Callable[[bytes], Path]


def row(number: int, **fields: Any) -> Row:
    return Row(**{"number": number, "id": None, "prompt": DEFAULT_PROMPT, **fields})


def human(value: object) -> dict[str, object]:
    return {"from": "human", "value": value}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write bytes to an input file."""

    def write(content: bytes) -> Path:
        path = tmp_path / "input.json"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(params=["array", "JSONL"])
def read(request: pytest.FixtureRequest, save: Save) -> Callable[..., list[Row | BadRow]]:
    """Read rows given as values, from either format."""

    def run(*values: object) -> list[Row | BadRow]:
        if request.param == "array":
            return list(read_rows(save(orjson.dumps(values))))
        # The first character must tell JSONL, whatever the rows under test are.
        lines = [{"image": "first.png"}, *values]
        content = b"".join(orjson.dumps(value) + b"\n" for value in lines)
        first, *others = read_rows(save(content))
        assert first == row(1, image=("first.png",))
        return [renumbered(item) for item in others]

    return run


def renumbered(item: Row | BadRow) -> Row | BadRow:
    """Take away what the first line added to a row's number and message."""
    if isinstance(item, Row):
        return Row(number=item.number - 1, id=item.id, image=item.image, prompt=item.prompt)
    prefix, _, message = item.message.partition(": ")
    assert prefix == f"line {item.number}"
    return BadRow(number=item.number - 1, message=message)


Read = Callable[..., list[Row | BadRow]]


def only_message(items: list[Row | BadRow]) -> str:
    [item] = items
    assert isinstance(item, BadRow)
    assert item.number == 1
    return item.message


# --- Good rows -----------------------------------------------------------------------------------


def test_the_seeds_own_input_works_unchanged(read: Read) -> None:
    value = {"image": ["./images/fr.png"], "conversation": [human("<image>\nWrite an article.")]}

    assert read(value) == [row(1, image=("./images/fr.png",), prompt="Write an article.")]


def test_a_bare_path_is_a_list_of_one(read: Read) -> None:
    assert read({"image": "a.png"}) == [row(1, image=("a.png",))]


def test_several_images_keep_their_order(read: Read) -> None:
    assert read({"image": ["b.png", "a.png"]}) == [row(1, image=("b.png", "a.png"))]


def test_rows_are_numbered_from_one(read: Read) -> None:
    read_back = read({"image": "a.png"}, {"image": 5}, {"image": "c.png"})

    assert [item.number for item in read_back] == [1, 2, 3]


def test_other_fields_are_ignored(read: Read) -> None:
    value = {"image": "a.png", "vqa": [1.5, {"image": None}], "width": 2**62, "ok": True}

    assert read(value) == [row(1, image=("a.png",))]


@pytest.mark.parametrize("conversation", [None, []])
def test_a_row_without_a_conversation_has_the_default_prompt(
    read: Read, conversation: object
) -> None:
    value = {"image": "a.png", "conversation": conversation}

    assert read(value) == [row(1, image=("a.png",))]


@pytest.mark.parametrize("value", ["", "  \n", "<image>", "<image>\n<image>\n"])
def test_a_prompt_that_says_nothing_is_the_default_prompt(read: Read, value: str) -> None:
    assert read({"image": "a.png", "conversation": [human(value)]}) == [row(1, image=("a.png",))]


def test_the_first_human_turn_is_the_prompt(read: Read) -> None:
    turns = [{"from": "system", "value": 5}, human("First."), {"from": "gpt"}, human("Second.")]

    [item] = read({"image": "a.png", "conversation": turns})

    assert isinstance(item, Row)
    assert item.prompt == "First."


@pytest.mark.parametrize(
    ("value", "prompt"),
    [
        ("<image>\nDescribe.", "Describe."),
        ("Describe.\n<image>", "Describe."),
        ("\n\n<image><image> <image>\r\n\nDescribe.\n\n", "Describe."),
        ("One.\n  <image>\nTwo.", "One.\nTwo."),
        ("One.\n\nTwo.", "One.\n\nTwo."),
        ("Look at <image> and tell.", "Look at and tell."),
        ("See <image>\nTell.", "See \nTell."),
        ("An <IMAGE> and <img> stay.", "An <IMAGE> and <img> stay."),
    ],
)
def test_image_placeholders_leave_the_prompt(read: Read, value: str, prompt: str) -> None:
    [item] = read({"image": "a.png", "conversation": [human(value)]})

    assert isinstance(item, Row)
    assert item.prompt == prompt


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        (7, 7),
        (0, 0),
        (-1, -1),
        (2**63 - 1, 2**63 - 1),
        ("fr-1", "fr-1"),
        ("07", "07"),
        (None, None),
        (7.0, 7),
        (-0.0, 0),
    ],
)
def test_an_id_is_kept_and_a_whole_float_is_its_integer(
    read: Read, given_id: object, expected: object
) -> None:
    [item] = read({"image": "a.png", "id": given_id})

    assert isinstance(item, Row)
    assert (item.id, type(item.id)) == (expected, type(expected))


# --- Bad rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, "`image` is missing"),
        ({"images": "a.png"}, "`image` is missing"),
        ({"image": None}, "`image` is null"),
        ({"image": ""}, "`image` is a string ('')"),
        ({"image": []}, "`image` is an empty list"),
        ({"image": 5}, "`image` is a number (5)"),
        ({"image": {"path": "a.png"}}, "`image` is an object ({'path': 'a.png'})"),
        ({"image": ["a.png", ""]}, "`image` holds a string ('')"),
        ({"image": ["a.png", None]}, "`image` holds null"),
        ({"image": [["a.png"]]}, "`image` holds a list (['a.png'])"),
    ],
)
def test_an_unusable_image_says_what_was_found_and_expected(
    read: Read, value: object, found: str
) -> None:
    message = only_message(read(value))

    assert message == f"{found}; expected a path or a list of paths."


@pytest.mark.parametrize(
    ("conversation", "found"),
    [
        ("Describe.", "`conversation` is a string ('Describe.'); expected a list"),
        ({}, "`conversation` is an object ({}); expected a list"),
        (False, "`conversation` is a boolean (False); expected a list"),
        (["Describe."], "a turn is a string ('Describe.'); expected an object"),
        ([{"from": "gpt", "value": "Hi."}], '`conversation` has no turn with `from` "human"'),
        ([{"value": "Describe."}], '`conversation` has no turn with `from` "human"'),
        ([{"from": "human"}], "the human turn's `value` is null; expected a string"),
        ([human(5)], "the human turn's `value` is a number (5); expected a string"),
    ],
)
def test_a_wrong_conversation_is_a_bad_row(read: Read, conversation: object, found: str) -> None:
    assert found in only_message(read({"image": "a.png", "conversation": conversation}))


@pytest.mark.parametrize("given_id", [True, False, 1.5, 1e300, 2.0**54, [1], {"a": 1}])
def test_what_names_no_record_is_no_id(read: Read, given_id: object) -> None:
    message = only_message(read({"image": "a.png", "id": given_id}))

    assert message.startswith("`id` is ")
    assert "expected a whole number of 64 bits or a string" in message


@pytest.mark.parametrize("value", [None, 5, "a.png", ["a.png"], True])
def test_a_row_that_is_no_object_is_bad(read: Read, value: object) -> None:
    message = only_message(read(value))

    assert message.startswith("the row is ")
    assert message.endswith("expected an object with `image`.")


def test_a_message_stays_short_whatever_the_row_holds(read: Read) -> None:
    message = only_message(read({"image": {"x" * 100_000: ["y" * 100_000] * 100}}))

    assert len(message) < 300


def test_one_bad_row_costs_no_other(read: Read) -> None:
    read_back = read({"image": "a.png"}, {"image": 5}, {"image": "c.png"})

    assert [type(item) for item in read_back] == [Row, BadRow, Row]


# --- JSONL ---------------------------------------------------------------------------------------


def test_blank_lines_are_skipped_and_lines_still_named_right(save: Save) -> None:
    path = save(b'\n\n{"image": "a.png"}\n  \r\n{"image": 5}\r\n\n{"image": "b.png"}')

    first, bad, last = read_rows(path)

    assert first == row(1, image=("a.png",))
    assert bad.number == 2
    assert isinstance(bad, BadRow)
    assert bad.message.startswith("line 5: `image` is a number (5)")
    assert last == row(3, image=("b.png",))


@pytest.mark.parametrize(
    "line",
    [b'{"image": "a.png"', b"not json", b'{"image": NaN}', b'{"image": "caf\xe9.png"}', b"{} {}"],
)
def test_a_malformed_line_is_one_bad_row(save: Save, line: bytes) -> None:
    path = save(b'{"image": "a.png"}\n' + line + b'\n{"image": "c.png"}\n')

    first, bad, last = read_rows(path)

    assert isinstance(bad, BadRow)
    assert bad.number == 2
    assert bad.message.startswith("line 2 is no JSON: ")
    assert "column " in bad.message
    assert (first.number, last) == (1, row(3, image=("c.png",)))


def test_a_line_without_end_is_refused_without_filling_the_memory(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(rows, "READ_BYTES", 100)
    long = b'{"image": "' + b"x" * 5000 + b'.png"}\n'

    items = list(read_rows(save(long + b'{"image": "b.png"}\n' + long)))

    assert [item.number for item in items] == [1, 2, 3]
    assert items[1] == row(2, image=("b.png",))
    for item, line in ((items[0], 1), (items[2], 3)):
        assert isinstance(item, BadRow)
        assert item.message.startswith(f"line {line} is longer than 1,000 bytes")


def test_an_integer_beyond_64_bits_is_no_id(save: Save) -> None:
    [item] = read_rows(save(b'{"image": "a.png", "id": 18446744073709551616}'))

    assert isinstance(item, BadRow)
    assert "64 bits" in item.message


# --- Arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"", "premature EOF"),
        (b", ", "premature EOF"),
        (b', {"image": "c.pn', "premature EOF"),
        (b' {"image": "c.png"}]', "after array element"),
        (b", }, {}]", "unallowed token"),
        (b', {"image": NaN}]', "invalid char"),
        (b', {"image": "caf\xe9.png"}]', "invalid bytes in UTF8 string"),
        (b', {"id": ' + b"9" * 5000 + b"}]", "integer overflow"),
        (b"] trailing", "trailing garbage"),
    ],
)
def test_a_broken_array_yields_its_good_rows_then_one_bad_row(
    save: Save, rest: bytes, reason: str
) -> None:
    content = b'[{"image": "a.png"},\n {"image": "b.png"}' + rest

    *good, bad = read_rows(save(content))

    assert good == [row(1, image=("a.png",)), row(2, image=("b.png",))]
    assert isinstance(bad, BadRow)
    assert bad.number == 3
    assert reason in bad.message
    assert f"near byte {len(content):,}" in bad.message
    assert "\n" not in bad.message


def test_an_array_broken_far_behind_its_start_yields_all_rows_before(save: Save) -> None:
    content = b"[" + b'{"image": "a.png"},' * 20_000 + b"oops"

    *good, bad = read_rows(save(content))

    assert [item.number for item in good] == list(range(1, 20_001))
    assert isinstance(bad, BadRow)
    assert bad.number == 20_001


def test_an_array_broken_at_its_first_row_is_not_called_empty(save: Save) -> None:
    [bad] = read_rows(save(b"["))

    assert isinstance(bad, BadRow)
    assert bad.number == 1


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

    tracemalloc.start()
    try:
        num_rows = sum(isinstance(item, Row) for item in read_rows(path))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

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
