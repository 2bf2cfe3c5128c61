"""What one reader found in a text, before anyone judged whether it makes a record."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from contextvqa.records import QA
from refiner.parser.text import plain


class Layout(StrEnum):
    """How the pairs of a text are written."""

    #: An object or a list of objects, bare or fenced.
    JSON = "json"
    #: `<question>…</question><answer>…</answer>`.
    TAGGED = "tagged"
    #: The rows of a table.
    TABLE = "table"
    #: `Question: …` and `Answer: …`, or any other words and marks for them.
    LABELLED = "labelled"
    #: Questions are numbered or end in a question mark; only answers have a label.
    LABELLED_ANSWERS = "labelled_answers"
    #: Questions have a label; what follows them is the answer.
    LABELLED_QUESTIONS = "labelled_questions"
    #: Below a heading of the pairs, lines that end in a question mark and what follows them.
    UNLABELLED = "unlabelled"


class Draft(NamedTuple):
    """
    A text as read. Either part may be missing: `context` is then "", `qas` is then ().

    Without pairs, `layout` is the one that came nearest.
    """

    layout: Layout
    context: str
    qas: tuple[QA, ...]
    #: The lines of the text that are neither article nor pair nor heading, as written.
    leftover: Sequence[str] = ()
    #: The text breaks off, or may.
    is_truncated: bool = False


def make_qa(question: str, answers: Sequence[str]) -> QA | None:
    """
    Return a pair of plain text, several answers joined by commas.

    Returns:
        None where the question or every answer is empty.

    """
    question = plain(question)
    kept = [answer for answer in map(plain, answers) if answer]
    if not (question and kept):
        return None
    if len(kept) > 1:
        kept = [bare for answer in kept if (bare := answer.rstrip(",; "))]
    answer = ", ".join(kept)
    if question[0] == '"' == question[-1] and answer[0] == '"' == answer[-1]:
        question, answer = question[1:-1], answer[1:-1]  # As YAML quotes its values.
    return QA(question=question, answer=answer) if question and answer else None
