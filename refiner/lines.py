"""
A text as lines that say what they are: label, heading, list item, rule, or just text.

A line is judged alone. Whether a label is meant as one is for its surroundings to tell: the
article may well hold a line such as "A: good view".
"""

from collections.abc import Iterator
from enum import IntEnum, auto
from typing import NamedTuple

from refiner import labels, patterns


class Kind(IntEnum):
    """What a line looks like."""

    BLANK = auto()
    TEXT = auto()
    #: Bulleted or numbered.
    ITEM = auto()
    #: Begins with a question's label.
    QUESTION = auto()
    #: Begins with an answer's label.
    ANSWER = auto()
    #: Begins with the label of something models add to an answer, such as "Explanation:".
    ASIDE = auto()
    #: Heading of the pairs, such as "### Question Answer Pairs".
    PAIRS = auto()
    #: Heading of the article, such as "Wikipedia Article:"; the article may begin on its line.
    ARTICLE = auto()
    #: Begins with a label that is the article's only where nothing stands before it.
    CONTEXT = auto()
    #: Any other heading.
    HEADING = auto()
    #: Neither letters nor digits, or a code fence.
    RULE = auto()


class Line(NamedTuple):
    """One line, or what a label in the middle of a line begins. White space is collapsed."""

    kind: Kind
    #: Without label and list marker; of a heading only what stands behind its colon.
    text: str
    #: As written.
    raw: str
    is_numbered: bool = False
    #: Has no label and ends in a question mark.
    is_asking: bool = False


#: Longest line that is taken for a heading made of known words.
_MAX_HEADING_CHARS = 80
#: Longest line that is taken for a chat model's announcement of what follows.
_MAX_ANNOUNCEMENT_CHARS = 200
_MAX_CHATTER_CHARS = max(map(len, labels.CHATTER))
_LABEL_KINDS = {
    **dict.fromkeys(labels.QUESTION, Kind.QUESTION),
    **dict.fromkeys(labels.ANSWER, Kind.ANSWER),
    **dict.fromkeys(labels.ASIDE, Kind.ASIDE),
}
_COLON_ENDS = tuple(labels.COLONS)
_QUESTION_ENDS = tuple(labels.QUESTION_MARKS)
_AFTER_QUESTION_MARK = '*_ "”)'
_PAIRS_WORDS = labels.QUESTION | labels.ANSWER | labels.PAIRS | labels.PAIRS_FILLERS
_ARTICLE_WORDS = labels.ARTICLE | labels.ARTICLE_FILLERS | labels.CONTEXT | labels.TITLE
_HEADING_WORDS = _PAIRS_WORDS | _ARTICLE_WORDS

_BLANK = Line(Kind.BLANK, "", "")


def read_lines(text: str) -> list[Line]:
    r"""Return the lines of a text with `\n` line ends; a text that ends in one ends in a BLANK."""
    lines: list[Line] = []
    for written in text.split("\n"):
        row = " ".join(written.split())
        if not row:
            lines.append(_BLANK)
        elif patterns.LABEL_SIGN.search(row):
            lines.extend(map(_classify, _pieces(row)))
        else:
            lines.append(_classify(row))
    return lines


def _pieces(row: str) -> Iterator[str]:
    """Split a row before each label inside it, where it may be a row of pairs at all."""
    word, position = _first_word(row)
    separator = patterns.SEPARATOR.match(row, position) if word in _LABEL_KINDS else None
    start = 0
    if separator or any(mark in row for mark in labels.QUESTION_MARKS):
        position = separator.end() if separator else position
        while patterns.LABEL_SIGN.search(row, position) and (
            found := patterns.INLINE_LABEL.search(row, position)
        ):
            yield row[start : found.start()]
            start, position = found.end(), found.end(found.lastgroup or 0)
    yield row[start:]


def _first_word(row: str) -> tuple[str, int]:
    """Return the first word, without a numeral at its end, and where it ends; else "", 0."""
    head = patterns.HEAD.match(row)
    if head is None or head["word"] is None:
        return "", 0
    return head["word"].casefold().rstrip(labels.NUMERALS), head.end()


def _classify(row: str) -> Line:
    word, position = _first_word(row)
    if row.startswith("```") or not (word or any(map(str.isalnum, row))):
        return Line(Kind.RULE, "", row)
    found = None
    if word in _LABEL_KINDS:
        found = _labelled(row, position, _LABEL_KINDS[word])
    if found is None and word in _HEADING_WORDS:
        found = _heading_of_words(row)
    if found is None:
        found = _announcement(row, word)
    if found is None and not row[0].isalpha():
        found = _hashed(row) or _item(row)
    return found or Line(Kind.TEXT, row, row, is_asking=_is_asking(row))


def _labelled(row: str, position: int, kind: Kind) -> Line | None:
    """Return the line whose label's word ends at *position*."""
    separator = patterns.SEPARATOR.match(row, position)
    if separator is None and kind is Kind.QUESTION and _is_asking(row):
        separator = patterns.BARE_SEPARATOR.match(row, position)
    if separator is None:
        return None
    text = row[separator.end() :]
    if row.startswith("(") and text.endswith(")") and "(" not in text:
        text = text[:-1]  # "(Answer: Paris)" is bracketed as a whole.
    return Line(kind, text, row)


def _heading_of_words(row: str) -> Line | None:
    """Return the heading that is made of known words only: as a whole, or up to its colon."""
    if len(row) <= _MAX_HEADING_CHARS and _names_pairs(_words(row)):
        return Line(Kind.PAIRS, "", row)
    head, *rest = patterns.COLON_SPLIT.split(row, 1)
    words = _words(head) if len(head) <= _MAX_HEADING_CHARS else set()
    text = rest[0].lstrip("*_ ") if rest else ""
    if not words <= _ARTICLE_WORDS:
        return None
    if words & labels.TITLE:
        return Line(Kind.HEADING, "", row)
    if words & labels.ARTICLE:
        return Line(Kind.ARTICLE, text, row)
    if words & labels.CONTEXT:
        return Line(Kind.CONTEXT if text else Kind.HEADING, text, row)
    return None


def _words(text: str) -> set[str]:
    return {word.casefold() for word in patterns.WORD.findall(text)}


def _names_pairs(words: set[str]) -> bool:
    is_named = words & labels.PAIRS or (words & labels.QUESTION and words & labels.ANSWER)
    return bool(is_named) and words <= _PAIRS_WORDS


def _announcement(row: str, word: str) -> Line | None:
    """Return "Here is the article:" and "Here are question-answer pairs:" as headings."""
    if len(row) > _MAX_ANNOUNCEMENT_CHARS:
        return None
    is_chatter = row[:_MAX_CHATTER_CHARS].casefold().startswith(labels.CHATTER)
    is_announcement = is_chatter or row.rstrip("*_ ").endswith(_COLON_ENDS)
    mention = patterns.MENTION.search(row) if is_announcement else None
    if mention is None:
        return None
    if mention["pairs"]:
        return Line(Kind.PAIRS, "", row) if patterns.ANSWER_MENTION.search(row) else None
    is_heading = is_chatter or mention["wikipedia"] or word in labels.ARTICLE
    return Line(Kind.ARTICLE, "", row) if is_heading else None


def _hashed(row: str) -> Line | None:
    """Return a Markdown or wiki heading, unless it is a question set as one."""
    marker = patterns.HASHED.match(row)
    if marker is None:
        return None
    text = row[marker.end() :]
    if _is_asking(text):
        return _item(text) or Line(Kind.TEXT, text, text, is_asking=True)
    return Line(Kind.HEADING, "", row)


def _item(row: str) -> Line | None:
    marker = patterns.ITEM.match(row)
    if marker is None:
        return None
    return Line(
        Kind.ITEM,
        row[marker.end() :],
        row,
        is_numbered=marker["number"] is not None,
        is_asking=_is_asking(row),
    )


def _is_asking(row: str) -> bool:
    return row.rstrip(_AFTER_QUESTION_MARK).endswith(_QUESTION_ENDS)
