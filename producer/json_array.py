"""
Split the bytes of a JSON array into its rows, undecoded and in constant memory.

No library does it here, because a parser ends the array at the first value that it refuses, and
ijson's fast one crashes on an integer of 5,000 digits; this looks at quotes, brackets and commas
alone, so that what is wrong within a row costs only that row.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from producer.row import RowError

#: Blanks between JSON values.
BLANKS = b" \t\r\n"
#: Ends the array.
CLOSING = ord("]")

#: From within a string to behind its end.
STRING_END = rb'[^"\\]*+(?:\\.[^"\\]*+)*+"'


def brackets(depth: int) -> bytes:
    """Return a pattern of balanced brackets of up to *depth* levels, whichever of the two kinds."""
    inner = brackets(depth - 1) + b"|" if depth > 1 else b""
    # Plain bytes come last, because up to Python 3.11.4 a possessive group goes on from where its
    # last alternative failed, not from where it began (gh-106052). Plain bytes fail at once.
    return rb'[\[{](?:%b"%b|[^"\[\]{}]++)*+[\]}]' % (inner, STRING_END)


#: What is passed in one step where it stands whole in a block: most rows have fewer levels.
WHOLE = brackets(4) + b'|"' + STRING_END
#: Outside all brackets of a row, up to the next byte that matters; opening brackets come together.
OUTSIDE = re.compile(rb'(?:%b|[^",\[\]{}]++)*+([",\]}]|[\[{]++)' % WHOLE, re.DOTALL)
#: The same within brackets, where commas do not matter.
INSIDE = re.compile(rb'(?:%b|[^"\[\]{}]++)*+(["\]}]|[\[{]++)' % WHOLE, re.DOTALL)
IN_STRING = re.compile(STRING_END, re.DOTALL)


class Scanner:
    """Finds the ends of rows, in time linear in their bytes. A block may end anywhere in a row."""

    def __init__(self) -> None:
        #: Brackets open around the place.
        self.depth = 0
        self.is_in_string = False
        #: Whether the first byte of the next block is escaped.
        self.is_escaped = False

    def find_ends(self, block: bytes) -> Iterator[int]:
        """Yield where in the next block rows end: at their commas and at the array's bracket."""
        at = 0
        while not self.is_in_string or (at := self.leave_string(block, at)) >= 0:
            found = (INSIDE if self.depth else OUTSIDE).match(block, at)
            if found is None:
                return
            at = found.end()
            mark = found[1]
            if mark == b"," or (mark == b"]" and not self.depth):
                yield at - 1
            elif mark == b'"':
                self.is_in_string = True
            elif mark not in b"]}":
                self.depth += len(mark)
            elif self.depth:  # Otherwise "}" closes nothing, and belongs to a bad row.
                self.depth -= 1

    def leave_string(self, block: bytes, at: int) -> int:
        """Return where in *block* the text after the string begins; -1 where it ends later."""
        at += self.is_escaped
        found = IN_STRING.match(block, at)
        num_backslashes = len(block) - max(at, len(block.rstrip(b"\\")))
        self.is_in_string = found is None
        self.is_escaped = found is None and num_backslashes % 2 == 1
        return -1 if found is None else found.end()


def split_array(blocks: Iterable[bytes], place: int, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield what stands between the commas of a JSON array, whether it is JSON or not.

    Args:
        blocks: The array from behind its opening bracket, in pieces of any size but none empty.

        place: Of their first byte. Places count the bytes of the input from 1.

        max_bytes: A longer row is not held whole: what comes of it is longer, by a block at most.

    Yields:
        A row's bytes, with the blanks around them, and the place of the first of them.

    Raises:
        RowError: The array does not end, or more follows it. Every row up to there was yielded.

    """
    blocks, scanner, kept = iter(blocks), Scanner(), bytearray()
    first = start = place
    for block in blocks:
        begin = 0
        for end in scanner.find_ends(block):
            text = block[begin:end]
            if kept:
                text = bytes(kept + text)
                kept.clear()
            is_last = block[end] == CLOSING
            # Only the empty array has nothing between its brackets.
            if not is_last or start > first or text.strip(BLANKS):
                yield start, text
            begin = end + 1
            start = place + begin
            if is_last:
                refuse_more(chain([block[begin:]], blocks), start)
                return
        kept += block[begin:][: max_bytes + 1 - len(kept)]
        place += len(block)
    if not scanner.depth and not scanner.is_in_string and kept.rstrip(BLANKS).endswith(b"}"):
        yield start, bytes(kept)
        start, kept = place, bytearray()
    raise broken_off(first_place(start, kept), place - 1)


def broken_off(start: int, end: int) -> RowError:
    """Return what to say of an array whose last row begins at *start*, of an input up to *end*."""
    return RowError(
        f"the array breaks off: from byte {min(start, end):,} to the end of the input, byte"
        f" {end:,}, there is no whole row and no closing ']'. The input is cut off, or a quote or"
        " a bracket is not closed."
    )


def first_place(start: int, text: bytes | bytearray) -> int:
    """Return the place of the first byte of *text* that is no blank; *text* begins at *start*."""
    return start + len(text) - len(text.lstrip(BLANKS))


def refuse_more(blocks: Iterable[bytes], place: int) -> None:
    """Raise RowError unless all is blank that follows the array, from *place* on."""
    for block in blocks:
        if block.strip(BLANKS):
            place = first_place(place, block)
            raise RowError(
                f"byte {place:,}: there is more after the array's closing ']'; expected the end of"
                " the input. Rows from there on are not read."
            )
        place += len(block)
