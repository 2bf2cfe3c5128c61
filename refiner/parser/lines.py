"""
A text as lines that say what they are: label, heading, list item, rule, or just text.

A line is judged alone. Whether a label is meant as one is for its surroundings to tell: the
article may well hold a line such as "A: good view".
"""

from collections.abc import Iterator
from typing import NamedTuple

from refiner.parser import kinds, labels, patterns
from refiner.parser.kinds import Kind, Mark
from refiner.parser.text import collapse
from refiner.parser.words import KNOWN, names_article, names_pairs, words_of


class Line(NamedTuple):
    """One line, or what a label in the middle of a line begins. White space is collapsed."""

    kind: Kind
    #: Without label and list marker; of a heading only what stands behind its colon.
    text: str
    #: As written.
    raw: str
    mark: Mark = kinds.UNMARKED


#: Longest line that is taken for a heading made of known words.
_MAX_HEADING_CHARS = 80
#: Longest line that is taken for a chat model's announcement of what follows.
_MAX_ANNOUNCEMENT_CHARS = 250
_LABEL_KINDS = {
    **dict.fromkeys(labels.QUESTION, kinds.QUESTION),
    **dict.fromkeys(labels.ANSWER, kinds.ANSWER),
    **dict.fromkeys(labels.ASIDE, kinds.ASIDE),
}
_BEFORE_LABELS = labels.QUALIFIERS | labels.PAIR
_LABELLED = frozenset((kinds.QUESTION, kinds.ANSWER))
#: The article may begin on the line of these headings.
_WITH_TEXT = frozenset((kinds.ARTICLE, kinds.CONTEXT))
#: Without one of them at its beginning, a line is no label, no heading and no chatter.
_TELLING_WORDS = KNOWN.union(_LABEL_KINDS, labels.QUALIFIERS, patterns.CHATTER_WORDS)
#: Of an item whose number is a letter, or written as one.
_ITEM_ENDS = (")", "、")
_HEADING_ENDS = labels.COLONS + "*_"
_COLON_ENDS = tuple(labels.COLONS)
_QUESTION_ENDS = tuple(labels.QUESTION_MARKS)
_AFTER_QUESTION_MARK = '*_` "”»」)）'
_FENCE = "```"
_HEADING_BEGINS = ("#", "**", "__", "--", "==")
#: Stands between pairs, or parts of one, on the same line.
_BETWEEN_LABELS = " ,/|;–—→•-"
_MARKS = {"number": kinds.NUMBER, "letter": kinds.LETTER}
_BRACKETS = {")": "(", "）": "（", "}": "{", "]": "["}

#: An empty line.
BLANK = Line(kinds.BLANK, "", "")


def read_lines(text: str) -> list[Line]:
    r"""Return the lines of a text with `\n` line ends; a text that ends in one ends in a BLANK."""
    lines: list[Line] = []
    text = collapse(text)
    if patterns.DOTTED_LETTER.search(text):
        text = patterns.DOTTED_LABELS.sub(r"\1Q:\2A:", text)
    for written in text.split("\n"):
        row = written.lstrip(" >").rstrip()
        if not row:
            lines.append(BLANK)
            continue
        line = _classify(row)
        if _may_hold_labels(line):
            lines.extend(_split_at_labels(line))
        else:
            lines.append(line)
    return lines


def _may_hold_labels(line: Line) -> bool:
    """Whether a line may hold several pairs, or parts of one: only where it is set off, or asks."""
    text = line.text
    if text.isascii():
        # Most lines hold neither sign, which `in` finds out sooner than a regular expression.
        if not (":" in text or "." in text or ")" in text):
            return False
        is_asking_inside = "?" in text
    else:
        is_asking_inside = any(map(text.__contains__, labels.QUESTION_MARKS))
    is_set_off = line.kind in _LABELLED or line.mark is not kinds.UNMARKED
    return (is_set_off or is_asking_inside) and patterns.LABEL_SIGN.search(text) is not None


def _split_at_labels(line: Line) -> Iterator[Line]:
    """Split a line before each label inside it."""
    text = line.text
    label = patterns.INLINE_LABEL if line.kind in _LABELLED else patterns.INLINE_LABEL_AFTER_PAUSE
    found = label.search(text)
    if found is None:
        yield line
        return
    label_chars = max(line.raw.find(text), 0)
    yield line._replace(
        text=text[: found.start()].rstrip(_BETWEEN_LABELS),
        raw=line.raw[: label_chars + found.start()],
    )
    while found is not None:
        begin, position = found.end(), found.end(found.lastgroup or 0)
        found = patterns.INLINE_LABEL.search(text, position)
        piece = text[begin : found.start()] if found else text[begin:]
        # What stands between two labels is no part of the pair, but would be of the article.
        yield _classify((found and piece.rstrip(_BETWEEN_LABELS)) or piece)._replace(raw=piece)


def _classify(row: str) -> Line:
    head = patterns.HEAD.match(row)
    written = head["word"] if head else None
    if head is None or written is None:
        return _wordless(row)
    word, position = written.casefold(), head.end()
    is_short = len(row) <= _MAX_ANNOUNCEMENT_CHARS
    if is_short and (word in _BEFORE_LABELS or row.startswith((")", "]"), position)):
        word, position = _qualified(row, word, position)
    elif not word.isascii():
        word = word.rstrip(labels.NUMERALS)
    kind = _LABEL_KINDS.get(word)
    found = _labelled(row, position, kind) if kind else None
    if found or _is_prose(row, word):
        return found or Line(kinds.TEXT, row, row)
    if word in KNOWN or not word.isascii():
        found = _heading_of_words(row)
    if found is None and is_short:
        found = _announcement(row)
    if found is None and not (row[0].isalpha() and row[1:2] not in _ITEM_ENDS):
        found = _marked(row)
    return found or Line(kinds.TEXT, row, row)


def _is_prose(row: str, word: str) -> bool:
    """Whether nothing sets a line off from an article, as nearly all lines of one: to be quick."""
    if not (row[0].isalpha() and word.isascii()) or row[1:2] == ")" or row[-1] in _HEADING_ENDS:
        return False
    if word not in _TELLING_WORDS:
        return True
    is_long = len(row) > _MAX_ANNOUNCEMENT_CHARS and row.isascii()
    return is_long and ":" not in row[:_MAX_HEADING_CHARS]


def _qualified(row: str, word: str, position: int) -> tuple[str, int]:
    """Return the label behind a first word such as "Correct" or "a)" and where it ends."""
    head = patterns.QUALIFIED_HEAD.match(row)
    return (head["word"].casefold(), head.end()) if head else (word, position)


def _wordless(row: str) -> Line:
    if len(row) == 1 and not row.isalnum():
        return BLANK  # The bullet of an item that was never written.
    if patterns.NUMBER_ALONE.match(row) or not any(map(str.isalnum, row)):
        return Line(kinds.RULE, "", row)
    return _marked(row) or Line(kinds.TEXT, row, row)


def _labelled(row: str, position: int, kind: Kind) -> Line | None:
    """Return the line whose label's word ends at *position*."""
    if row.startswith(": ", position):
        text = row[position + 2 :]  # As most labels are: no need for the whole pattern.
    else:
        separator = patterns.SEPARATOR.match(row, position)
        if separator is None and kind is kinds.QUESTION and is_asking(row):
            separator = patterns.BARE_SEPARATOR.match(row, position)
        if separator is None:
            return None
        text = row[separator.end() :]
    opening = _BRACKETS.get(text[-1:])
    if opening and text.count(text[-1]) > text.count(opening):
        text = text[:-1]  # "(Answer: Paris)" is bracketed as a whole.
    return Line(kind, text, row)


def _heading_of_words(row: str) -> Line | None:
    """Return the heading that is made of known words only: as a whole, or up to its colon."""
    colon = patterns.COLON.search(row, 0, _MAX_HEADING_CHARS)
    if colon is None and len(row) > _MAX_HEADING_CHARS:
        return None
    words = words_of(row[: colon.start()] if colon else row)
    text = row[colon.end() :].lstrip("*_ ") if colon else ""
    kind = None
    if names_article(words):
        kind = _kind_of_article(words, text)
    elif names_pairs(words_of(row) if text and len(row) <= _MAX_HEADING_CHARS else words):
        kind = None if text and len(row) > _MAX_HEADING_CHARS else kinds.PAIRS
    if kind is None:
        return None
    return Line(kind, text if kind in _WITH_TEXT else "", row)


def _kind_of_article(words: set[str], text: str) -> Kind | None:
    if words & labels.TITLE:
        return kinds.HEADING
    if words & labels.ARTICLE:
        return kinds.ARTICLE
    if words & labels.CONTEXT:
        return kinds.CONTEXT if text else kinds.HEADING
    return None


def _announcement(row: str) -> Line | None:
    """Return "Here is the article:" and "## The question-answer pairs" as headings."""
    is_chatter = patterns.CHATTER.match(row) is not None
    is_heading = row.startswith(_HEADING_BEGINS) and not is_asking(row)
    if not (is_chatter or is_heading or row.rstrip("*_ ").endswith(_COLON_ENDS)):
        return None
    if patterns.PAIRS_MENTION.search(row) and patterns.ANSWER_MENTION.search(row):
        return Line(kinds.PAIRS, "", row)
    if patterns.WIKIPEDIA_MENTION.search(row) or (
        is_chatter and patterns.ARTICLE_MENTION.search(row)
    ):
        return Line(kinds.ARTICLE, "", row)
    return None


def _marked(row: str) -> Line | None:
    """Return a line that is set off by a marker: a list item, a heading or a fence."""
    if row.startswith(_FENCE):
        return Line(kinds.RULE, "", row)
    hashes = patterns.HASHED.match(row)
    if hashes:
        text = row[hashes.end() :]
        number = patterns.ITEM.match(text)
        text = text[number.end() :] if number else text
        # A question may be set as a heading.
        return Line(kinds.TEXT if is_asking(text) else kinds.HEADING, text, text, kinds.HASHES)
    item = patterns.ITEM.match(row)
    if item:
        mark = _MARKS.get(item.lastgroup or "", kinds.BULLET)
        return Line(kinds.ITEM, row[item.end() :], row, mark)
    if row.startswith("**") and row.rstrip(":： ").endswith("**"):
        return Line(kinds.TEXT, row, row, kinds.BOLD)
    return None


def is_asking(text: str) -> bool:
    """Whether a text ends in a question mark."""
    return text.rstrip(_AFTER_QUESTION_MARK).endswith(_QUESTION_ENDS)
