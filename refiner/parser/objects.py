"""JSON: an object with article and pairs, or lists or objects of pairs below an article in lines."""

import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import NamedTuple

from contextvqa.records import QA
from refiner.parser.article import read_article
from refiner.parser.draft import Draft, Layout
from refiner.parser.lines import read_lines
from refiner.parser.values import MAX_DEPTH, context_of, pairs_of

#: Stands around the values of a text that is hardly JSON.
_SYNTAX = ", \n[]{}"
#: Where a value may begin: an object anywhere, a list at the start of a line.
_START = re.compile(r'\{\s*"|^[^\S\n]*+\[(?=\s*[\[{])', re.MULTILINE)
#: A text that is written as JSON, whatever is wrong with it.
_JSON = re.compile(r'^\{\s*"|\A\s*(?:```\s*)?(?:\{\s*"|\[\s*[\[{])|^```json\s*[{\[]', re.MULTILINE)
#: Beginnings without a pair that are tried. More would make hostile input quadratic.
_MAX_FAILURES = 3
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_FENCE = re.compile(r"^```.*$", re.MULTILINE)
#: Models put line ends into strings as they are. Numbers stay as they are written.
_DECODER = JSONDecoder(strict=False, parse_int=str, parse_float=str)


class _Found(NamedTuple):
    """A value in a text."""

    context: str
    qas: tuple[QA, ...]
    begin: int
    end: int
    is_whole: bool


def read_objects(text: str) -> Draft | None:
    """
    Read the JSON of a text, one that was cut as far as its last whole object.

    Args:
        text: As `normalise` returns it.

    Returns:
        None where the text neither is written as JSON nor holds a value with pairs.

    """
    if "{" not in text and not ("[" in text and "[[" in text):
        return None
    context = ""
    qas: list[QA] = []
    rest: list[str] = []
    end, is_whole = 0, True
    for found in _find_values(text):
        context = context or found.context
        qas += found.qas
        rest.append(text[end : found.begin])
        end, is_whole = found.end, found.is_whole
    if not qas:
        return Draft(Layout.JSON, context, ()) if context or _JSON.search(text) else None
    rest.append(text[end:] if is_whole else "")
    return _draft(context, tuple(qas), rest, is_whole=is_whole)


def _draft(context: str, qas: tuple[QA, ...], rest: list[str], *, is_whole: bool) -> Draft:
    """Take the article from the lines above the first value where the values hold none."""
    above = read_article(read_lines(_FENCE.sub("", rest[0])))
    leftover = [*above.leftover]
    if context:
        leftover.append(above.text)
    article = read_article(read_lines(context)).text if context else above.text
    leftover += _FENCE.sub("", "\n".join(rest[1:])).strip(_SYNTAX).splitlines()
    kept = tuple(line for text in leftover if (line := " ".join(text.split())))
    return Draft(Layout.JSON, article, qas, kept, not is_whole)


def _find_values(text: str) -> Iterator[_Found]:
    """Yield the values of a text that follow one another, until too many hold no pair."""
    position = num_failures = 0
    while num_failures < _MAX_FAILURES and (start := _START.search(text, position)):
        found = _decode(text, start.end() - len(start[0].lstrip()))
        position = start.end()
        if found and (found.qas or found.context):
            yield found
            position = found.end
            if not found.is_whole:
                return
        else:
            num_failures += 1


def _decode(text: str, begin: int) -> _Found | None:
    """Return the value that begins there, else what is whole of it, else None."""
    try:
        value, end = _DECODER.raw_decode(text, begin)
        return _found(value, begin, end, is_whole=True)
    except (ValueError, RecursionError):
        pass
    end, closers = _find_end(text, begin)
    written = _TRAILING_COMMA.sub("", text[begin:end] + closers)
    try:
        return _found(_DECODER.decode(written), begin, end, is_whole=not closers)
    except (ValueError, RecursionError):
        return None


def _found(value: object, begin: int, end: int, *, is_whole: bool) -> _Found:
    return _Found(context_of(value), tuple(pairs_of(value)), begin, end, is_whole)


def _find_end(text: str, begin: int) -> tuple[int, str]:
    """Return where a value ends, or its last whole object, and what closes it there."""
    open_closers: list[str] = []
    end, closers = begin, ""
    for token in _TOKEN.finditer(text, begin):
        mark = token[0]
        if mark in "{[":
            open_closers.append("}" if mark == "{" else "]")
        elif mark in "}]":
            if not open_closers or open_closers.pop() != mark:
                break
            if not open_closers:
                return token.end(), ""
            if mark == "}" and len(open_closers) < MAX_DEPTH:
                end, closers = token.end(), "".join(reversed(open_closers))
    return end, closers
