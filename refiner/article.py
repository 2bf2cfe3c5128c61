"""The article: what stands before the pairs, without titles, headings, rules and chatter."""

from collections.abc import Container, Sequence
from typing import NamedTuple

from refiner import kinds, labels, patterns
from refiner.lines import Line
from refiner.text import plain

#: Most lines of chatter before the article's heading.
_MAX_PREFACE_LINES = 4
#: Longest chatter before the article's heading; what is longer is the article itself.
_MAX_PREFACE_CHARS = 300
_MAX_TITLE_CHARS = 80
_MAX_TITLE_WORDS = 10
#: With all emphasis.
_MAX_HEADING_CHARS = 2 * _MAX_TITLE_CHARS
#: A title, and the heading of the first section.
_MAX_HEADINGS = 2
_COLON_ENDS = tuple(labels.COLONS)
#: After the emphasis of a heading.
_HEADING_TAIL = labels.COLONS + labels.QUESTION_MARKS + " "
_ITALICS = ("*", "_")
_ITALIC_TAIL = _HEADING_TAIL + "*_"
#: After the end of a sentence.
_CLOSING = "\"'”’»」』)）"
_NO_TEXT = frozenset((kinds.BLANK, kinds.HEADING, kinds.RULE, kinds.PAIRS))


class Article(NamedTuple):
    r"""The article's paragraphs, separated by `\n\n`, and the lines of chatter around it."""

    text: str
    leftover: Sequence[str]


def read_article(lines: Sequence[Line]) -> Article:
    """
    Read the lines before the pairs. Every list item is one paragraph.

    A label in a line means nothing here: the line is text.
    """
    lines, leftover = _without_preface(lines)
    headings = _find_headings(lines)
    paragraphs: list[list[str]] = [[]]
    for index, line in enumerate(lines):
        if not _is_text(line) or index in headings:
            paragraphs.append([])
        elif line.kind is kinds.ITEM:
            paragraphs.append([line.text if line.mark is kinds.BULLET else line.raw])
        else:
            paragraphs[-1].append(line.raw)
    texts = [" ".join(paragraph) for paragraph in paragraphs if paragraph]
    if texts and len(texts) > 1 and texts[-1].endswith(_COLON_ENDS):
        leftover.append(texts.pop())  # It announces what comes after the article.
    return Article("\n\n".join([bare for text in texts if (bare := plain(text))]), leftover)


def _without_preface(lines: Sequence[Line]) -> tuple[Sequence[Line], list[str]]:
    """Begin at the article's heading, where chatter at most stands before it."""
    begin, num_seen, num_chars = None, 0, 0
    for index, line in enumerate(lines):
        if line.kind is kinds.ARTICLE or (line.kind is kinds.CONTEXT and num_chars == 0):
            begin = index
            if line.text and not _is_title(line.text):
                break
        elif _is_text(line):
            num_seen += 1
            num_chars += len(line.raw)
            if begin is not None or num_seen > _MAX_PREFACE_LINES or num_chars > _MAX_PREFACE_CHARS:
                break
    if begin is None:
        return _without_chatter(lines)
    text = lines[begin].text
    first = Line(kinds.TEXT if text else kinds.BLANK, text, text)
    return [first, *lines[begin + 1 :]], [line.raw for line in lines[:begin] if _is_text(line)]


def _without_chatter(lines: Sequence[Line]) -> tuple[Sequence[Line], list[str]]:
    """Drop a first line that speaks to the user although no heading tells it from the article."""
    first = next((index for index, line in enumerate(lines) if _is_text(line)), None)
    if first is None or not _is_chatter(lines[first].raw):
        return lines, []
    rest = lines[first + 1 :]
    return (rest, [lines[first].raw]) if any(map(_is_text, rest)) else (lines, [])


def _is_chatter(raw: str) -> bool:
    if len(raw) > _MAX_PREFACE_CHARS:
        return False
    if patterns.AGREEMENT.match(raw):
        return True
    is_announcement = patterns.CHATTER.match(raw) or patterns.ARTICLE_MENTION.search(raw)
    return raw.endswith(_COLON_ENDS) and is_announcement is not None


def _find_headings(lines: Sequence[Line]) -> Container[int]:
    """Return the indices of the lines of text that are titles or headings, marked as such or not."""
    headings: set[int] = set()
    above: int | None = None
    run: list[int] = []
    for index, line in enumerate(lines):
        # Most lines are empty or too long.
        if line.kind is kinds.BLANK or not _is_text(line):
            continue
        if len(line.raw) <= _MAX_HEADING_CHARS and _is_marked_heading(line):
            headings.add(index)
        elif len(line.raw) <= _MAX_HEADING_CHARS and _may_head(
            lines, index, run[-1] if run else above
        ):
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
    if len(run) > _MAX_HEADINGS or (
        above is not None and lines[above].raw.endswith(_COLON_ENDS)
    ):
        return False
    for index in run:
        if index > 0 and _is_text(lines[index - 1]):
            return False
    if below is None:
        return last.kind is kinds.TEXT
    if _is_same_list(last, lines[below]):
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
    text = line.text
    return _is_title(text.rstrip(_ITALIC_TAIL) if text[:1] in _ITALICS else text)


def _is_same_list(above: Line, below: Line) -> bool:
    """Whether two lines are items with the same bullet, or both with numbers."""
    if not (above.kind is below.kind is kinds.ITEM and above.mark is below.mark):
        return False
    return above.mark is not kinds.BULLET or above.raw[0] == below.raw[0]


def _is_text(line: Line) -> bool:
    return line.kind not in _NO_TEXT and (line.kind is not kinds.ARTICLE or bool(line.text))


def _is_marked_heading(line: Line) -> bool:
    """Whether a line is set as a heading: one that asks, or is emphasised as a whole."""
    if line.mark is not kinds.BOLD:
        return line.mark is kinds.HASHES
    inner = line.raw.rstrip(_HEADING_TAIL).strip("*")
    return "**" not in inner and _is_title(inner.rstrip(_HEADING_TAIL))


def _is_title(text: str) -> bool:
    if len(text) > _MAX_HEADING_CHARS:
        return False
    bare = plain(text).rstrip(_CLOSING)
    return (
        0 < len(bare) <= _MAX_TITLE_CHARS
        and len(bare.split()) <= _MAX_TITLE_WORDS
        and not bare.endswith(labels.NO_TITLE_ENDS)
        and not bare[0].islower()
    )
