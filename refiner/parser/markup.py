"""Tags and tables, written out as the labelled lines that they stand for."""

import re
from itertools import pairwise
from typing import NamedTuple

from refiner.parser import labels, patterns
from refiner.parser.lines import is_asking
from refiner.parser.text import collapse
from refiner.parser.words import names_answer, names_article, names_pairs, names_question, words_of

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[^\W\d_][\w-]*)(?P<attributes>(?:\s[^<>]{0,200})?)/?>")
#: Tags as some models write them: [QUESTION]…[/QUESTION].
_BRACKETED = re.compile(r"\[(/?[^\W\d_][\w-]{0,40})\]")
#: What a chat template sets around turns, and the speaker that it names.
_TEMPLATE_TOKEN = re.compile(
    r"(?:<\|(?:im_start|start_header_id)\|>|<start_of_turn>)(?:assistant|model)\b"
    r"|<\|(?P<name>[\w ]{1,40})\|>|<(?:(?:start|end)_of_turn|[be]os|pad)>"
)
#: What the tags of HTML become, and any other tag that is closed somewhere: a line end.
_HTML = {
    **dict.fromkeys(("b", "strong"), "**"),
    **dict.fromkeys(("i", "em"), "*"),
    **dict.fromkeys(("u", "span", "sub", "sup", "small", "code", "mark", "a", "q", "s"), ""),
    **dict.fromkeys(("p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol"), "\n\n"),
    **dict.fromkeys(("br", "hr", "tr", "div", "img"), "\n"),
}
#: Tags of HTML that are also how a model abbreviates question and answer, without attributes.
_LETTERS = ("q", "a")
#: The white space between the cells of a row.
_BETWEEN_CELLS = re.compile(r"(?<!\s)\s++(?=<t[dh]\b|</tr\b)")
_CELLS = ("td", "th")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_DELIMITERS = frozenset("|:-+= ")


def write_out_tags(text: str) -> tuple[str, bool]:
    """Return a text with lines in place of its tags, and whether they held questions."""
    text = _BRACKETED.sub(r"<\1>", text) if "[/" in text else text
    text = _TEMPLATE_TOKEN.sub(_write_out_token, text)
    closed = {match["name"] for match in _TAG.finditer(text) if match["end"]}
    is_asked = any(_label_of(name) is _QUESTION for name in closed)
    is_tagged = False

    def write_out(tag: re.Match[str]) -> str:
        nonlocal is_tagged
        name = tag["name"].casefold()
        if tag["name"] not in closed and name not in _HTML:
            is_cut = is_asked and _label_of(tag["name"]) is _ANSWER
            return _ANSWER.begin if is_cut else tag[0]
        is_html = name in _HTML and (name not in _LETTERS or bool(tag["attributes"]))
        label = None if is_html else _label_of(tag["name"])
        if label is None:
            return _html(name, is_end=bool(tag["end"]))
        if label is _ANSWER and tag.start() == begin:
            return "\n"  # Around all that was written, below thoughts.
        is_tagged = is_tagged or label is _QUESTION
        return label.end if tag["end"] else label.begin

    text = _BETWEEN_CELLS.sub("", text)
    begin = len(text) - len(text.lstrip())
    return _TAG.sub(write_out, text), is_tagged


def _write_out_token(token: re.Match[str]) -> str:
    """Return the label that a token such as `<|question|>` stands for, mostly none."""
    label = _label_of(token["name"]) if token["name"] else None
    return label.begin if label else ""


def _html(name: str, *, is_end: bool) -> str:
    if name in _CELLS:
        return " | " if is_end else ""
    if name == "li":
        return "" if is_end else "\n- "
    if name in _HEADINGS:
        return "\n\n" if is_end else "\n\n## "
    return _HTML.get(name, "\n")


class _Label(NamedTuple):
    """What stands for a tag and for its end."""

    begin: str
    end: str


_QUESTION = _Label("\n\nQuestion: ", "\n")
_ANSWER = _Label("\nAnswer: ", "\n\n")
_PAIRS = _Label("\n\nQuestion Answer Pairs\n\n", "\n\n")
_ARTICLE = _Label("\n\nArticle:\n", "\n\n")
_TITLE = _Label("\n\nTitle: ", "\n\n")


def _label_of(name: str) -> _Label | None:
    words = words_of(name)
    if words <= labels.QUESTION:
        return _QUESTION
    if names_answer(words):
        return _ANSWER
    if names_pairs(words):
        return _PAIRS
    if names_article(words):
        return _TITLE if words & labels.TITLE else _ARTICLE
    return None


def write_out_tables(text: str) -> tuple[str, bool]:
    """Return a text with labelled lines in place of its tables' rows, and whether it had any."""
    rows: list[str] = []
    columns: tuple[int, int] | None = None
    is_table = False
    for row in collapse(text).split("\n"):
        if "|" not in row:
            if columns and row.strip():
                columns = None
                rows.append("")  # What stands below a table is no part of its last cell.
            rows.append(row)
            continue
        cells = [cell.strip() for cell in row.strip().removeprefix("|").split("|")]
        is_head = False
        if columns is None:
            columns = _columns_of_head(cells)
            is_head = columns is not None
        if columns is None and row.lstrip().startswith("|"):
            columns = _columns_of_row(cells)
            if columns:
                _drop_head(rows)
        if columns is None:
            rows.append(row)
        elif not (is_head or _DELIMITERS.issuperset(row)):
            is_table = True
            rows.append(_write_out_row(cells, *columns))
    return ("\n".join(rows), True) if is_table else (text, False)


def _write_out_row(cells: list[str], question: int, answer: int) -> str:
    asked = cells[question] if question < len(cells) else ""
    number = patterns.ITEM.match(asked)
    written = f"Question: {asked[number.end() :] if number else asked}" if asked else ""
    if answer < len(cells):
        # With its own end, the cell is whole even where max_tokens cut the table.
        written += f"\nAnswer: {cells[answer]}" + "\n" * (answer + 1 < len(cells))
    return written


def _columns_of_head(cells: list[str]) -> tuple[int, int] | None:
    """Return which columns hold question and answer by their names, else None."""
    names = [words_of(cell) for cell in cells]
    question = next((index for index, words in enumerate(names) if names_question(words)), None)
    answer = next((index for index, words in enumerate(names) if names_answer(words)), None)
    if question is not None and answer is not None:
        return question, answer
    return None


def _columns_of_row(cells: list[str]) -> tuple[int, int] | None:
    """Return the column of a row that asks and the one after it, without a head, else None."""
    for index, (asked, answered) in enumerate(pairwise(cells)):
        if answered and is_asking(asked):
            head = patterns.HEAD.match(asked)
            is_labelled = head and (head["word"] or "").casefold() in labels.QUESTION
            return None if is_labelled else (index, index + 1)
    return None


def _drop_head(rows: list[str]) -> None:
    """Drop the last rows if they are the head of a table."""
    if len(rows) > 1 and rows[-1] and _DELIMITERS.issuperset(rows[-1]) and "|" in rows[-2]:
        del rows[-2:]
