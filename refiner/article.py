"""The article: what stands before the pairs, without titles, headings, rules and chatter."""

from collections.abc import Sequence

from refiner import labels
from refiner.lines import Kind, Line
from refiner.text import plain

#: Most lines of chatter before the article's heading.
_MAX_PREFACE_LINES = 4
#: Longest chatter before the article's heading; what is longer is the article itself.
_MAX_PREFACE_CHARS = 300
_MAX_TITLE_CHARS = 80
_MAX_TITLE_WORDS = 10
_NO_TITLE_ENDS = tuple(labels.SENTENCE_ENDS + labels.COLONS + ",;")
_COLON_ENDS = tuple(labels.COLONS)
#: After the emphasis of a heading.
_HEADING_TAIL = labels.COLONS + " "
_NO_TEXT = (Kind.BLANK, Kind.HEADING, Kind.RULE, Kind.PAIRS)


def read_article(lines: Sequence[Line]) -> str:
    r"""
    Return the article's paragraphs, separated by `\n\n`. Every list item is one paragraph.

    A label in a line means nothing here: the line is text.
    """
    paragraphs: list[list[str]] = [[]]
    for line in _without_title(_without_preface(lines)):
        if not _is_text(line) or _is_bold_heading(line.raw):
            paragraphs.append([])
        elif line.kind is Kind.ITEM:
            paragraphs.append([line.raw if line.is_numbered else line.text])
        else:
            paragraphs[-1].append(line.raw)
    if paragraphs[-1] and paragraphs[-1][-1].endswith(_COLON_ENDS):
        paragraphs[-1].pop()  # It announces what comes after the article.
    texts = (plain(" ".join(paragraph)) for paragraph in paragraphs if paragraph)
    return "\n\n".join(text for text in texts if text)


def _without_preface(lines: Sequence[Line]) -> Sequence[Line]:
    """Begin at the article's heading, where chatter at most stands before it."""
    begin, num_seen, num_chars = None, 0, 0
    for index, line in enumerate(lines):
        if line.kind is Kind.ARTICLE or (line.kind is Kind.CONTEXT and num_chars == 0):
            begin = index
            if line.text and not _is_title(line.text):
                break
        elif _is_text(line):
            num_seen += 1
            num_chars += len(line.raw)
            if begin is not None or num_seen > _MAX_PREFACE_LINES or num_chars > _MAX_PREFACE_CHARS:
                break
    if begin is None:
        return lines
    text = lines[begin].text
    first = Line(Kind.TEXT if text else Kind.BLANK, text, text)
    return [first, *lines[begin + 1 :]]


def _without_title(lines: Sequence[Line]) -> Sequence[Line]:
    """Drop a first line that is a title although nothing marks it as one."""
    content = (index for index, line in enumerate(lines) if _is_text(line))
    first, second = next(content, None), next(content, None)
    if first is None or second is None:
        return lines
    is_title = lines[first].kind is Kind.TEXT and _is_title(lines[first].raw)
    below = lines[second].raw
    # A line that goes on below is a wrapped sentence. Of lines that all read as titles, none is.
    return lines[second:] if is_title and not (below[0].islower() or _is_title(below)) else lines


def _is_text(line: Line) -> bool:
    return line.kind not in _NO_TEXT and (line.kind is not Kind.ARTICLE or bool(line.text))


def _is_bold_heading(raw: str) -> bool:
    """Whether a line is emphasised as a whole and no sentence."""
    if not raw.startswith("**"):
        return False
    bold = raw.rstrip(_HEADING_TAIL)
    inner = bold.strip("*")
    return bold.endswith("**") and "**" not in inner and _is_title(inner.rstrip(_HEADING_TAIL))


def _is_title(text: str) -> bool:
    bare = plain(text[: 2 * _MAX_TITLE_CHARS])
    return (
        0 < len(bare) <= _MAX_TITLE_CHARS
        and len(bare.split()) <= _MAX_TITLE_WORDS
        and not bare.endswith(_NO_TITLE_ENDS)
        and not bare[0].islower()
    )
