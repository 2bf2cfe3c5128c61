"""JSON: an object with article and pairs, or a list of pairs below an article in plain lines."""

import re
from itertools import islice
from json import JSONDecoder

from contextvqa.records import QA
from refiner.article import read_article
from refiner.draft import Draft, Layout, make_qa
from refiner.lines import read_lines

#: Keys as `_value_of` compares them: letters only, casefolded. The first that is there counts.
_CONTEXT_KEYS = (
    *("context", "article", "wikipediaarticle", "wikiarticle", "passage", "content", "text"),
    *("文章", "维基百科文章", "上下文"),
)
_PAIRS_KEYS = (
    *("qas", "qapairs", "qa", "questions", "questionanswerpairs", "questionsandanswers", "pairs"),
    *("questionanswers", "questionanswer", "问答对", "问答"),
)
_QUESTION_KEYS = ("question", "q", "问题", "问")
_ANSWER_KEYS = ("answer", "answers", "a", "答案", "回答", "答")

#: Where a value may begin: an object anywhere, a list of objects at the start of a line.
_START = re.compile(r'\{\s*"|^[^\S\n]*+\[(?=\s*\{)', re.MULTILINE)
#: Beginnings that are tried. More would make hostile input quadratic.
_MAX_STARTS = 3
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)
#: Deepest place of a pair that a cut value is closed after.
_MAX_PAIR_DEPTH = 4
#: Models put line ends into strings as they are. Numbers stay as they are written.
_DECODER = JSONDecoder(strict=False, parse_int=str, parse_float=str)


def read_objects(text: str) -> Draft | None:
    """
    Read the JSON of a text, one that was cut as far as its last whole object.

    Args:
        text: As `normalise` returns it.

    Returns:
        None where the text neither begins as JSON nor holds a value with pairs.

    """
    if "{" not in text:
        return None
    for start in islice(_START.finditer(text), _MAX_STARTS):
        value = _decode(text, start.end() - len(start[0].lstrip()))
        qas = _read_qas(value)
        if qas:
            is_object = isinstance(value, dict)
            context = _join(_value_of(value, _CONTEXT_KEYS)) if is_object else text[: start.start()]
            return Draft(Layout.JSON, read_article(read_lines(context)), qas)
    begins_as_json = _START.match(text.lstrip().removeprefix("```json").lstrip("`\n "))
    return Draft(Layout.JSON, "", ()) if begins_as_json else None


def _decode(text: str, position: int) -> object:
    """Return the value that begins there, else what is whole of it, else None."""
    try:
        return _DECODER.raw_decode(text, position)[0]
    except (ValueError, RecursionError):
        pass
    try:
        return _DECODER.decode(_close(text, position))
    except (ValueError, RecursionError):
        return None


def _close(text: str, position: int) -> str:
    """Return the value up to the end of its last whole object, with what is open then closed."""
    closers: list[str] = []
    closed = ""
    end = position
    for token in _TOKEN.finditer(text, position):
        mark = token[0]
        if mark in "{[":
            closers.append("}" if mark == "{" else "]")
        elif mark in "}]":
            if not closers or closers.pop() != mark:
                break
            if mark == "}" and len(closers) < _MAX_PAIR_DEPTH:
                end, closed = token.end(), "".join(reversed(closers))
    return text[position:end] + closed


def _read_qas(value: object) -> tuple[QA, ...]:
    pairs = _value_of(value, _PAIRS_KEYS) if isinstance(value, dict) else value
    found = (_read_qa(pair) for pair in pairs) if isinstance(pairs, list) else ()
    return tuple(qa for qa in found if qa)


def _read_qa(pair: object) -> QA | None:
    question = _join(_value_of(pair, _QUESTION_KEYS))
    answer = _value_of(pair, _ANSWER_KEYS)
    return make_qa(
        question, [_join(item) for item in answer] if isinstance(answer, list) else [_join(answer)]
    )


def _value_of(value: object, keys: tuple[str, ...]) -> object:
    """Return the member of an object under the first of the keys it has, else None."""
    if not isinstance(value, dict):
        return None
    members = {"".join(filter(str.isalpha, key)).casefold(): item for key, item in value.items()}
    return next((members[key] for key in keys if key in members), None)


def _join(value: object) -> str:
    """Return a string or number as it is, a list of them as paragraphs, anything else as ""."""
    if isinstance(value, list):
        return "\n\n".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""
