"""Where the rows of a JSON array begin and end, whatever they hold."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.json_array import split_array
from producer.row import RowError

MAX_BYTES = 16 << 20
BLOCK_BYTES = 1 << 16


def blocks_of(text: bytes, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def split(text: bytes, size: int = BLOCK_BYTES) -> tuple[list[tuple[int, bytes]], str]:
    """Split what follows an opening bracket; the second is the error that ends it, if any."""
    found = []
    try:
        for item in split_array(blocks_of(text, size), 2, MAX_BYTES):
            found.append(item)  # noqa: PERF402 - what came before an error counts
    except RowError as error:
        return found, str(error).partition(":")[0]
    return found, ""


def split_byte_by_byte(text: bytes) -> tuple[list[tuple[int, bytes]], str]:
    """Do what `split` does, simply."""
    found, depth, start, in_string, escaped = [], 0, 0, False, False
    for at, byte in enumerate(text):
        if in_string:
            in_string = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte == ord('"'):
            in_string = True
        elif byte in b"[{":
            depth += 1
        elif byte in b"]}" and depth:
            depth -= 1
        elif byte == ord("]") or (byte == ord(",") and not depth):
            row = text[start:at]
            if byte == ord(",") or start or row.strip():
                found.append((2 + start, row))
            start = at + 1
            if byte == ord("]"):
                place = 2 + len(text) - len(text[start:].lstrip())
                return found, f"byte {place}" if text[start:].strip() else ""
    if not depth and not in_string and text[start:].rstrip().endswith(b"}"):
        found.append((2 + start, text[start:]))
    return found, "the array breaks off"


pieces = st.sampled_from([*'"\\[]{}, a', "[[[[[[", "]]]]]]", '"a"', '\\"', '{"a": [[[["b"]]]]}'])


@given(st.lists(pieces, max_size=40), st.integers(1, 20))
def test_rows_are_what_a_look_at_every_byte_finds(text: list[str], size: int) -> None:
    content = "".join(text).encode()

    assert split(content, size) == split_byte_by_byte(content)


@pytest.mark.parametrize("depth", range(1, 12))
def test_commas_within_brackets_and_strings_part_no_rows(depth: int) -> None:
    row = b'{"a": [' * depth + rb'1, "],[", "\",", "\\"' + b"]}" * depth

    assert split(row + b"," + row + b"]") == ([(2, row), (3 + len(row), row)], "")


def test_a_longer_row_is_neither_held_whole_nor_taken_for_a_shorter_one() -> None:
    text = b'"' + b"x" * 5000 + b'", {}]'

    (_, long), (place, short) = split_array(blocks_of(text, 100), 2, 1000)

    assert 1000 < len(long) <= 1100
    assert (place, short) == (2 + text.index(b" {"), b" {}")


@pytest.mark.parametrize(
    "piece",
    [
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"\\",
        b'"\\',
        b'["',
        b'["",',
        b"[ ",
        b"[[],",
        b'{"a":',
        b"9",
        b" ",
    ],
    ids=bytes.decode,
)
@pytest.mark.parametrize("start", [b"", b'"', b"[" * 1000], ids=["plain", "in string", "nested"])
def test_hostile_text_takes_time_in_proportion_to_its_length(start: bytes, piece: bytes) -> None:
    def seconds(num_bytes: int) -> float:
        text = start + piece * (num_bytes // len(piece))
        before = time.process_time()
        split(text)
        return time.process_time() - before

    # If it grew with the square, 16 times as much would take 256 times as long.
    assert seconds(1_600_000) < 64 * max(seconds(100_000), 0.01)
