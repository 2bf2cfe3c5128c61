"""JSON: an object with article and pairs, or lists or objects of pairs below an article in lines."""

import re
from collections.abc import Collection, Iterator
from json import JSONDecoder
from typing import NamedTuple

from contextvqa.records import QA
from refiner import labels
from refiner.article import read_article
from refiner.draft import Draft, Layout, make_qa
from refiner.lines import is_asking, read_lines
from refiner.words import words_of

#: Letters of the keys of an article, where no key is made of the words for one.
_CONTEXT_KEYS = (
    *("content", "text", "body", "paragraphs", "sections", "articletext", "wikiarticle"),
)
_ARTICLE_WORDS = labels.ARTICLE | labels.CONTEXT
#: Deepest place of a list of pairs, and of a pair that a cut value is closed after.
_MAX_DEPTH = 4

#: Stands around the values of a text that is hardly JSON.
_SYNTAX = ", \n[]{}"
#: Where a value may begin: an object anywhere, a list at the start of a line.
_START = re.compile(r'\{\s*"|^[^\S\n]*+\[(?=\s*[\[{])', re.MULTILINE)
#: A text that is written as JSON, whatever is wrong with it.
_JSON = re.compile(r'\A\s*(?:```\s*)?(?:\{\s*"|\[\s*[\[{])|^```json\s*[{\[]', re.MULTILINE)
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
    return _Found(_context_of(value), tuple(_pairs_of(value)), begin, end, is_whole)


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
            if mark == "}" and len(open_closers) < _MAX_DEPTH:
                end, closers = token.end(), "".join(reversed(open_closers))
    return end, closers


def _pairs_of(value: object, depth: int = 0) -> Iterator[QA]:
    """Yield the pairs of a value: objects, members that are numbered, questions as keys, lists."""
    if depth > _MAX_DEPTH:
        return
    written: list[tuple[object, object]] = []
    inner: list[object] = []
    match value:
        case list():
            written = _lists_of_two(value)
            inner = [] if written else value
        case dict():
            written = (
                _lists_as_members(value) or _members_of_pairs(value) or _questions_as_keys(value)
            )
            inner = [] if written else list(value.values())
    for question, answer in written:
        qa = _make_qa(question, answer)
        if qa:
            yield qa
    for item in inner:
        yield from _pairs_of(item, depth + 1)


def _lists_of_two(value: list[object]) -> list[tuple[object, object]]:
    """Return the pairs of a list of lists of two, or of one of them; of questions, most ask."""
    match value:
        case [str() as asked, str() | list() as answered] if is_asking(asked):
            return [(asked, answered)]
    pairs = [(item[0], item[1]) for item in value if isinstance(item, list) and len(item) == 2]  # noqa: PLR2004
    asking = [question for question, _ in pairs if isinstance(question, str) and is_asking(question)]
    return pairs if 2 * len(asking) > len(value) else []


def _lists_as_members(value: dict[str, object]) -> list[tuple[object, object]]:
    """Return the pairs of an object that has all questions in one list, all answers in another."""
    questions = _list_of(value, labels.QUESTION | labels.PAIRS)
    answers = _list_of(value, labels.ANSWER)
    are_texts = all(isinstance(question, str) for question in questions)
    is_one_to_one = are_texts and len(questions) == len(answers)
    return list(zip(questions, answers, strict=True)) if is_one_to_one else []


def _list_of(value: dict[str, object], names: Collection[str]) -> list[object]:
    for key, item in value.items():
        if isinstance(item, list) and _letters(key) in names:
            return item
    return []


def _members_of_pairs(value: dict[str, object]) -> list[tuple[object, object]]:
    """Return question and answer of an object, or several, as in `question1` and `answer1`."""
    questions: dict[str, object] = {}
    answers: dict[str, object] = {}
    for key, item in value.items():
        letters, digits = _letters(key), "".join(filter(str.isdigit, key))
        if letters in labels.QUESTION:
            questions[digits] = item
        elif letters in labels.ANSWER:
            answers[digits] = item
    return [(item, answers[number]) for number, item in questions.items() if number in answers]


def _questions_as_keys(value: dict[str, object]) -> list[tuple[object, object]]:
    asking = [key for key in value if is_asking(key)]
    # Of questions, not every one need end in a question mark.
    keys = value if 2 * len(asking) > len(value) else asking
    return [(key, value[key]) for key in keys]


def _letters(key: str) -> str:
    return "".join(filter(str.isalpha, key)).casefold()


def _make_qa(question: object, answer: object) -> QA | None:
    answers = answer if isinstance(answer, list) else [answer]
    written = [_on_one_line(item) for item in answers]
    return make_qa(_on_one_line(question), written)


def _on_one_line(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _context_of(value: object, depth: int = 0) -> str:
    """Return the article of a value as paragraphs, else ""."""
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return next(filter(None, (_context_of(item, depth + 1) for item in value)), "")
    if not isinstance(value, dict):
        return ""
    named = [item for key, item in value.items() if words_of(key) & _ARTICLE_WORDS]
    named += [item for key, item in value.items() if _letters(key) in _CONTEXT_KEYS]
    written = (
        _paragraphs(item, depth + 1) or _context_of(item, depth + 1) or _sections(item)
        for item in named
    )
    found = next(filter(None, written), "")
    inner = (item for item in value.values() if isinstance(item, dict))
    return found or next(filter(None, (_context_of(item, depth + 1) for item in inner)), "")


def _paragraphs(value: object, depth: int = 0) -> str:
    """Return a string as it is, those of a list or of its objects as paragraphs, else ""."""
    if isinstance(value, list):
        written = (item if isinstance(item, str) else _context_of(item, depth) for item in value)
        return "\n\n".join(filter(None, written))
    return value if isinstance(value, str) else ""


def _sections(value: object) -> str:
    """Return the texts of an object whose keys are headings, all but the title, as paragraphs."""
    if not isinstance(value, dict):
        return ""
    texts = (
        _paragraphs(item) for key, item in value.items() if not words_of(key) & labels.TITLE
    )
    return "\n\n".join(filter(None, texts))
