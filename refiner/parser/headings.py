"""Which lines of an article are titles or headings, of those that no sign or word tells apart."""

from collections.abc import Container, Sequence

from refiner.parser import kinds, labels
from refiner.parser.lines import Line
from refiner.parser.text import plain

_MAX_TITLE_CHARS = 80
_MAX_TITLE_WORDS = 10
#: Of a script without spaces, or a single word.
_MAX_WORD_CHARS = 40
#: With all emphasis.
_MAX_HEADING_CHARS = 2 * _MAX_TITLE_CHARS
#: A title, and the heading of the first section.
_MAX_HEADINGS = 2
_COLON_ENDS = tuple(labels.COLONS)
#: After the emphasis of a heading.
_HEADING_TAIL = labels.COLONS + labels.QUESTION_MARKS + " "
_ASKING_TAIL = labels.QUESTION_MARKS + " "
#: "Early life:" heads what "The inscription reads:" announces.
_MAX_WORDS_BEFORE_COLON = 2
_ITALICS = ("*", "_")
_ITALIC_TAIL = _HEADING_TAIL + "*_"
#: After the end of a sentence.
_CLOSING = "\"'”’»」』)）"
_NO_TEXT = frozenset((kinds.BLANK, kinds.HEADING, kinds.RULE, kinds.PAIRS))


def is_text(line: Line) -> bool:
    """Whether a line is text of the article, or a heading that nothing marks as one."""
    return line.kind not in _NO_TEXT and (line.kind is not kinds.ARTICLE or bool(line.text))


def find_headings(lines: Sequence[Line]) -> Container[int]:
    """Return the indices of the lines of text that are titles or headings, marked as such or not."""
    headings: set[int] = set()
    above: int | None = None
    run: list[int] = []
    for index, line in enumerate(lines):
        if not is_text(line):
            continue
        is_short = len(line.raw) <= _MAX_HEADING_CHARS  # As few lines are.
        if is_short and _is_marked_heading(line):
            headings.add(index)
        elif is_short and _may_head(lines, index, run[-1] if run else above):
            run.append(index)
        else:
            if run and _are_headings(lines, above, run, index):
                headings.update(run)
            above, run = index, []
    if run and above is not None and _are_headings(lines, above, run, None):
        headings.update(run)
    return headings


def _are_headings(
    lines: Sequence[Line], above: int | None, run: Sequence[int], below: int | None
) -> bool:
    """
    Whether lines that may head what stands *below* do, rather than being a list or a part of it.

    A title and a heading may follow one another, but of more lines that all read as titles, none
    is one; nor what is announced by a colon above, or stands in a paragraph.
    """
    last = lines[run[-1]]
    if len(run) > _MAX_HEADINGS:
        return False
    for index in run[:-1] if above is None else [above, *run[:-1]]:
        if lines[index].raw.endswith(_COLON_ENDS):
            return False
    for index in run:
        if index > 0 and is_text(lines[index - 1]):
            return False
    announces = last.raw.endswith(_COLON_ENDS)
    if below is None:
        return last.kind is kinds.TEXT and not announces
    if _is_same_list(last, lines[below]) or (announces and lines[below].kind is kinds.ITEM):
        return False
    # Right above a line as long as itself, it is the first line of a wrapped paragraph, and so it
    # is above one that goes on in lower case.
    is_apart = below > run[-1] + 1 or 2 * len(last.raw) < len(lines[below].raw)
    return is_apart and not lines[below].raw[0].islower()


def _may_head(lines: Sequence[Line], index: int, above: int | None) -> bool:
    """Whether a line reads as a heading that nothing marks, but for a bullet or a number."""
    line = lines[index]
    if line.kind is kinds.ITEM:
        is_alone = index + 1 < len(lines) and lines[index + 1].kind is not kinds.ITEM
        if not is_alone or (above is not None and _is_same_list(lines[above], line)):
            return False
    elif line.kind is not kinds.TEXT or line.text.startswith("|"):
        return False
    text = line.text.rstrip(_ITALIC_TAIL if line.text[:1] in _ITALICS else _ASKING_TAIL)
    if text.endswith(_COLON_ENDS) and text.count(" ") < _MAX_WORDS_BEFORE_COLON:
        text = text.rstrip(_HEADING_TAIL)
    return is_title(text)


def _is_same_list(above: Line, below: Line) -> bool:
    """Whether two lines are items with the same bullet, or both with numbers."""
    if not (above.kind is below.kind is kinds.ITEM and above.mark is below.mark):
        return False
    return above.mark is not kinds.BULLET or above.raw[0] == below.raw[0]


def _is_marked_heading(line: Line) -> bool:
    """Whether a line is set as a heading: one that asks, or is emphasised as a whole."""
    if line.mark is not kinds.BOLD:
        return line.mark is kinds.HASHES
    inner = line.raw.rstrip(_HEADING_TAIL).strip("*")
    return "**" not in inner and is_title(inner.rstrip(_HEADING_TAIL))


def is_title(text: str) -> bool:
    """Whether a text is short and ends as no sentence does."""
    if len(text) > _MAX_HEADING_CHARS:
        return False
    bare = plain(text).rstrip(_CLOSING)
    return (
        0 < len(bare) <= (_MAX_TITLE_CHARS if " " in bare else _MAX_WORD_CHARS)
        and len(bare.split()) <= _MAX_TITLE_WORDS
        and not bare.endswith(labels.NO_TITLE_ENDS)
        and not bare[0].islower()
    )
