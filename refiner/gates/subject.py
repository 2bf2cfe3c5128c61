"""
What an article is about: its title, where the opening confirms it, else the opening's own words.

No more than a reading of the first lines; docs/quality.md says what it misses.
"""

import re
from typing import NamedTuple

from refiner.gates.folding import UNSPACED, Folded, bare, find_phrase, fold
from refiner.parser import labels

#: Characters of a raw text in which its title stands, and lines of them.
_HEAD_CHARS = 400
_HEAD_LINES = 5
#: Characters of an article in which it names its subject.
_OPENING_CHARS = 300
_MAX_WORDS = 8
_MAX_CHARS = 80
_MIN_CHARS = 3
_MIN_UNSPACED_CHARS = 2
_TITLE_LABEL = re.compile(
    r"(?:(?:wikipedia|article|title|subject|topic|entry)(?:[- ]style)?\s*){1,3}[:：]\s*",
    re.IGNORECASE,
)
_WORD = r"[^\s,.;:()?!]+"
_OPENING = re.compile(
    rf"(?:(?:The|A|An) )?(?P<name>{_WORD}(?: {_WORD}){{0,5}}?)"
    r"(?:(?P<aside> \(|, )| (?:is|are|was|were|refers|refer) )"
)
_UNSPACED_OPENING = re.compile(rf"(?:{UNSPACED.pattern}|·){{2,16}}?(?=[（(，]|是|位于|指)")


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


#: Begin openings that name the subject later.
_NO_NAMES = _words(
    "located situated in on at known found with as from built founded nestled this it there these",
    "that those for by when while since although during one many most some his her its their",
)
#: May stand in a name in lower case.
_NAME_LINKS = _words("of the and de la du del di da von van der den y e et und al el for")


class Subject(NamedTuple):
    """What an article is about."""

    #: Folded, without an article before it.
    name: str
    #: A name of one thing, such as "Eiffel Tower"; else a kind of things, such as "giraffe".
    is_proper: bool


def find_subject(text: str, context: str, folded: Folded) -> Subject | None:
    """
    Return the subject of an article, None where nothing names it clearly.

    Args:
        text: All that the model wrote, with the title.
        context: The article.
        folded: The article, folded.

    """
    for name in _titles(text):
        place = find_phrase(name, folded.text, _OPENING_CHARS)
        if place >= 0:
            start, end = folded.span(place, place + len(name))
            return Subject(name, _is_proper(context, start, end))
    return _opening_subject(context)


def _titles(text: str) -> list[str]:
    """Return what may be a title of the text, folded."""
    lines = text[:_HEAD_CHARS].lstrip().split("\n")[:_HEAD_LINES]
    names = []
    for line in lines:
        title = line.strip("#*_= \t\r")
        if len(title) > _MAX_CHARS or title.endswith(labels.NO_TITLE_ENDS):
            continue
        if label := _TITLE_LABEL.match(title):
            title = title[label.end() :]
        name = bare(fold(title).text.strip("*_ "))
        if len(name.split()) <= _MAX_WORDS and _is_long_enough(name):
            names.append(name)
    return names


def _opening_subject(context: str) -> Subject | None:
    match = _UNSPACED_OPENING.match(context)
    if match:
        return Subject(fold(match[0]).text, is_proper=False)
    match = _OPENING.match(context, 0, _OPENING_CHARS)
    if match is None:
        return None
    name = match["name"]
    words = name.split()
    if words[0].casefold() in _NO_NAMES:
        return None
    is_proper = _is_proper(context, *match.span("name"))
    if match["aside"] and not is_proper:
        return None  # "Widely used today, ..." names nothing.
    folded = bare(fold(name).text)
    return Subject(folded, is_proper) if _is_long_enough(folded) else None


def _is_long_enough(name: str) -> bool:
    is_unspaced = UNSPACED.match(name) is not None
    return len(name) >= (_MIN_UNSPACED_CHARS if is_unspaced else _MIN_CHARS)


def _is_proper(context: str, start: int, end: int) -> bool:
    """Whether the words are written as a name of one thing is."""
    name = context[start:end]
    words = [word for word in re.split(r"[\s-]+", name) if word not in _NAME_LINKS]
    if not words or not all(word[:1].isupper() or word[:1].isdigit() for word in words):
        return False
    # One word alone may owe its capital to the sentence that it begins.
    before = context[max(0, start - 2) : start].strip()
    is_inside = before != "" and before not in labels.SENTENCE_ENDS
    return len(words) > 1 or is_inside or f" {name}" in context[end:].replace(". ", ".")
