"""The article: what stands before the pairs, without titles, headings, rules and chatter."""

from collections.abc import Sequence
from typing import NamedTuple

from refiner.parser import kinds, labels, patterns
from refiner.parser.headings import find_headings, is_text, is_title
from refiner.parser.lines import Line
from refiner.parser.text import plain

#: Most lines of chatter before the article's heading.
_MAX_PREFACE_LINES = 4
#: Longest chatter before the article's heading; what is longer is the article itself.
_MAX_PREFACE_CHARS = 300
_COLON_ENDS = tuple(labels.COLONS)


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
    headings = find_headings(lines)
    paragraphs: list[list[str]] = [[]]
    for index, line in enumerate(lines):
        if not is_text(line) or index in headings:
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
            if line.text and not is_title(line.text):
                break
        elif is_text(line):
            num_seen += 1
            num_chars += len(line.raw)
            if begin is not None or num_seen > _MAX_PREFACE_LINES or num_chars > _MAX_PREFACE_CHARS:
                break
    if begin is None:
        return _without_chatter(lines)
    text = lines[begin].text
    first = Line(kinds.TEXT if text else kinds.BLANK, text, text)
    return [first, *lines[begin + 1 :]], [line.raw for line in lines[:begin] if is_text(line)]


def _without_chatter(lines: Sequence[Line]) -> tuple[Sequence[Line], list[str]]:
    """Drop a first line that speaks to the user although no heading tells it from the article."""
    first = next((index for index, line in enumerate(lines) if is_text(line)), None)
    if first is None or not _is_chatter(lines[first].raw):
        return lines, []
    rest = lines[first + 1 :]
    return (rest, [lines[first].raw]) if any(map(is_text, rest)) else (lines, [])


def _is_chatter(raw: str) -> bool:
    if len(raw) > _MAX_PREFACE_CHARS:
        return False
    if patterns.AGREEMENT.match(raw):
        return True
    is_announcement = patterns.CHATTER.match(raw) or patterns.ARTICLE_MENTION.search(raw)
    return raw.endswith(_COLON_ENDS) and is_announcement is not None
