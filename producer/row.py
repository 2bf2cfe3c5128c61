"""
One row of the input: what it may hold, and what is wrong with it otherwise.

    {"image": path | [path, ...], "conversation"?: [{"from": "human", "value": prompt}], "id"?: …}
"""

import re
import reprlib
from dataclasses import dataclass

from contextvqa.records import RecordId, record_key
from producer.prompt import DEFAULT_PROMPT

#: Beyond it, floats skip whole numbers, and two ids could become one.
EXACT_FLOAT = 2**53
#: What fits 64 bits, signed or not: all that orjson writes.
INT_IDS = range(-(2**63), 2**64)

#: Image placeholders, with their line where they stand alone on it.
PLACEHOLDERS = re.compile(r"^[^\S\n]*(?:<image>[^\S\n]*)+(?:\n|\Z)|<image>[^\S\n]*", re.MULTILINE)

#: JSON's names for what Python calls otherwise.
KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One usable row."""

    #: Position among all rows of the input, bad ones included; counts from 1.
    number: int
    id: RecordId | None
    #: References as given, at least one.
    image: tuple[str, ...]
    #: Without image placeholders: the images always come first.
    prompt: str

    @property
    def key(self) -> str:
        """The key of its record, see `record_key`."""
        return record_key(self.id, self.image, self.prompt)


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """One row that cannot be used."""

    #: As in `Row`.
    number: int
    #: What was found and what was expected; it names the line (JSONL) or the byte (an array) too.
    message: str


class RowError(Exception):
    """Raised when a row cannot be used. It becomes the message of a BadRow."""


def parse_row(number: int, value: object) -> Row:
    """
    Check one decoded row; fields other than `image`, `conversation` and `id` are ignored.

    Raises:
        RowError: It is no row: the message says what was found and what was expected.

    """
    row = parse_object(value)
    return Row(
        number=number,
        id=parse_id(row.get("id")),
        image=parse_image(row),
        prompt=parse_prompt(row.get("conversation")),
    )


def parse_object(value: object) -> dict[str, object]:
    """Return the row as the object that it must be."""
    if not isinstance(value, dict):
        raise RowError(f"the row is {describe(value)}; expected an object with `image`.")
    return value


def parse_id(value: object) -> RecordId | None:
    """
    Return a row's own id, None where it has none.

    A float that is a whole number is that number: dataframes turn the integers of a column with
    gaps into floats.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_FLOAT:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in INT_IDS:
        return value
    raise RowError(f"`id` is {describe(value)}; expected a whole number of 64 bits or a string.")


def parse_image(row: dict[str, object]) -> tuple[str, ...]:
    """Return a row's image references, at least one."""
    expected = "expected a path or a list of paths"
    if "image" not in row:
        raise RowError(f"`image` is missing; {expected}.")
    value = row["image"]
    references = value if isinstance(value, list) else [value]
    if not references:
        raise RowError(f"`image` is an empty list; {expected}.")
    for reference in references:
        if not isinstance(reference, str) or not reference:
            where = "holds" if isinstance(value, list) else "is"
            raise RowError(f"`image` {where} {describe(reference)}; {expected}.")
    return tuple(references)


def parse_prompt(conversation: object) -> str:
    """Return what the first human turn asks, the default prompt where it asks nothing."""
    if conversation is None or conversation == []:
        return DEFAULT_PROMPT
    if not isinstance(conversation, list):
        raise RowError(f"`conversation` is {describe(conversation)}; expected a list of turns.")
    for turn in conversation:
        if not isinstance(turn, dict):
            raise RowError(f"a turn is {describe(turn)}; expected an object with from and value.")
        if turn.get("from") == "human":
            return strip_placeholders(turn.get("value"))
    raise RowError('`conversation` has no turn with `from` "human"; expected one.')


def strip_placeholders(value: object) -> str:
    """Return a turn's text without image placeholders and the blanks around it."""
    if not isinstance(value, str):
        raise RowError(f"the human turn's `value` is {describe(value)}; expected a string.")
    return PLACEHOLDERS.sub("", value).strip() or DEFAULT_PROMPT


def describe(value: object) -> str:
    """Name a JSON value's kind and show the value, shortened."""
    kind = KINDS.get(type(value), "a number")
    return kind if value is None else f"{kind} ({reprlib.repr(value)})"
