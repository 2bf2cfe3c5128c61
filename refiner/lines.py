"""
A text as lines that say what they are: label, heading, list item, rule, or just text.

A line is judged alone. Whether a label is meant as one is for its surroundings to tell: the
article may well hold a line such as "A: good view".
"""

import re
from collections.abc import Iterator
from enum import IntEnum, auto
from typing import NamedTuple

from refiner import labels


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
    #: Any other heading.
    HEADING = auto()
    #: Neither letters nor digits, or a code fence.
    RULE = auto()


class Line(NamedTuple):
    """One line, or what a label in the middle of a line begins. White space is collapsed."""

    kind: Kind
    #: Without label and list marker.
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
_LABEL_KINDS = {
    **dict.fromkeys(labels.QUESTION, Kind.QUESTION),
    **dict.fromkeys(labels.ANSWER, Kind.ANSWER),
    **dict.fromkeys(labels.ASIDE, Kind.ASIDE),
}
_COLON_ENDS = tuple(labels.COLONS)
_QUESTION_ENDS = tuple(labels.QUESTION_MARKS)
_AFTER_QUESTION_MARK = '*_ "”)'
_PAIRS_WORDS = labels.QUESTION | labels.ANSWER | labels.PAIRS | labels.PAIRS_FILLERS
_ARTICLE_WORDS = labels.ARTICLE | labels.ARTICLE_FILLERS | labels.TITLE
_HEADING_WORDS = _PAIRS_WORDS | _ARTICLE_WORDS

_LABEL_WORDS = sorted(labels.QUESTION | labels.ANSWER, key=len, reverse=True)
_ANY_LABEL_WORD = "|".join(map(str.upper, _LABEL_WORDS))
_LONG_LABEL_WORD = "(?i:" + "|".join(word for word in _LABEL_WORDS if len(word) > 1) + ")"
_COLON = f"[{labels.COLONS}]"
_DASH = f"[{labels.DASHES}]"
_NUMBER_END = f"[{labels.NUMBER_ENDS}]"
#: "Question - Answer Pairs" is a heading.
_LABEL_DASH = rf"{_DASH} (?!{_LONG_LABEL_WORD}\b)"
_QUESTION_MARK = f"[{labels.QUESTION_MARKS}]"

_BLANK = Line(Kind.BLANK, "", "")
_WORD = re.compile(r"[^\W\d_]+")
#: Whatever stands before a line's first word: bullets, numbers, hashes, stars, brackets.
_HEAD = re.compile(r"[\W\d_]*+(?P<word>[^\W\d_]+)?")
_COLON_SPLIT = re.compile(_COLON)
_ITEM = re.compile(
    rf"[{labels.BULLETS}] (?=\S)"
    rf"|(?P<number>\*{{0,2}}\(?\d{{1,3}}{_NUMBER_END}\*{{0,2}})(?: (?=\S)|(?=[^\s\d.)]))"
)
_HASHED = re.compile(r"(?:# |#{2,6}(?!#)) ?|={2,6} ")
#: Between a label's word and what it labels: number, colon, emphasis around either.
_SEPARATOR = re.compile(
    r"[*_]{0,3} ?(?P<number>[(#]{0,2}\d{1,3}\)?)?[*_]{0,3} ?"
    rf"(?:{_COLON}|[】\]]{_COLON}?|(?(number){_NUMBER_END}|(?!))|{_LABEL_DASH}|(?<=[*_]) |\Z)"
    r"[*_]{0,3} ?"
)
#: As above without any sign, which only a question's own question mark makes believable.
_BARE_SEPARATOR = re.compile(r" (?:\d{1,3} )?(?=[A-Z])")
_MENTION = re.compile(r"\b(?:(?P<pairs>questions?|q ?& ?a)|article|wikipedia)\b", re.IGNORECASE)
_ANSWER_MENTION = re.compile(r"\banswers?\b|q ?& ?a\b", re.IGNORECASE)
#: Without one of these after its beginning, a row holds no label inside.
_LABEL_SIGN = re.compile(rf"{_COLON}|\d{_NUMBER_END}")


def _inline_label() -> re.Pattern[str]:
    """
    Return the pattern of the space before a label inside a line; its group is the label.

    A label of one letter must follow a pause: "vitamin A: 5 mg" has none.
    """
    mark = rf"(?:{_DASH}|[*_(\[|•]){{0,3}} ?(?:\(?\d{{1,3}}{_NUMBER_END} ?)?[*_]{{0,3}}"
    colon = rf"(?:[*_]{{0,3}} ?{_COLON}| ?\d{{1,3}}[*_]{{0,3}}(?:{_COLON}|{_NUMBER_END}))"
    pause = rf"(?:(?<=[{labels.PAUSES}])|(?<={_QUESTION_MARK}\*)|(?<={_QUESTION_MARK}\*\*))"
    return re.compile(
        rf"(?:(?<=\S) (?=(?P<long>{mark}{_LONG_LABEL_WORD}{colon}))"
        rf"|{pause} ?(?=(?P<short>{mark}(?:{_ANY_LABEL_WORD}){colon})))"
    )


_INLINE_LABEL = _inline_label()


def read_lines(text: str) -> list[Line]:
    r"""Return the lines of a text with `\n` line ends; a text that ends in one ends in a BLANK."""
    lines: list[Line] = []
    for written in text.split("\n"):
        row = " ".join(written.split())
        if not row:
            lines.append(_BLANK)
        elif _LABEL_SIGN.search(row):
            lines.extend(map(_classify, _pieces(row)))
        else:
            lines.append(_classify(row))
    return lines


def _pieces(row: str) -> Iterator[str]:
    """Split a row before each label inside it, where it may be a row of pairs at all."""
    word, position = _first_word(row)
    separator = _SEPARATOR.match(row, position) if word in _LABEL_KINDS else None
    start = 0
    if separator or any(mark in row for mark in labels.QUESTION_MARKS):
        position = separator.end() if separator else position
        while _LABEL_SIGN.search(row, position) and (found := _INLINE_LABEL.search(row, position)):
            yield row[start : found.start()]
            start, position = found.end(), found.end(found.lastgroup or 0)
    yield row[start:]


def _first_word(row: str) -> tuple[str, int]:
    """Return the first word, without a numeral at its end, and where it ends; else "", 0."""
    head = _HEAD.match(row)
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
    separator = _SEPARATOR.match(row, position)
    if separator is None and kind is Kind.QUESTION and _is_asking(row):
        separator = _BARE_SEPARATOR.match(row, position)
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
    head, *rest = _COLON_SPLIT.split(row, 1)
    words = _words(head) if len(head) <= _MAX_HEADING_CHARS else set()
    if words <= _ARTICLE_WORDS and words & labels.TITLE:
        return Line(Kind.HEADING, "", row)
    if words <= _ARTICLE_WORDS and words & labels.ARTICLE:
        return Line(Kind.ARTICLE, rest[0].lstrip("*_ ") if rest else "", row)
    return None


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _names_pairs(words: set[str]) -> bool:
    is_named = words & labels.PAIRS or (words & labels.QUESTION and words & labels.ANSWER)
    return bool(is_named) and words <= _PAIRS_WORDS


def _announcement(row: str, word: str) -> Line | None:
    """Return "Here is the article:" and "Here are question-answer pairs:" as headings."""
    if len(row) > _MAX_ANNOUNCEMENT_CHARS:
        return None
    is_announcement = row.rstrip("*_ ").endswith(_COLON_ENDS) or word in labels.CHATTER
    mention = _MENTION.search(row) if is_announcement else None
    if mention is None:
        return None
    if not mention["pairs"]:
        return Line(Kind.ARTICLE, "", row)
    return Line(Kind.PAIRS, "", row) if _ANSWER_MENTION.search(row) else None


def _hashed(row: str) -> Line | None:
    """Return a Markdown or wiki heading, unless it is a question set as one."""
    marker = _HASHED.match(row)
    if marker is None:
        return None
    text = row[marker.end() :]
    if _is_asking(text):
        return _item(text) or Line(Kind.TEXT, text, text, is_asking=True)
    return Line(Kind.HEADING, text, row)


def _item(row: str) -> Line | None:
    marker = _ITEM.match(row)
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
