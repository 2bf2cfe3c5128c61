"""
The pairs of a text written in lines, in whichever of the line layouts it is.

Every layout is read by the same steps: find which lines begin a question and where the article
ends, take the article from what stands before, then collect each question's lines and its answer's.
"""

from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import NamedTuple

from contextvqa.records import QA
from refiner.parser import kinds, patterns
from refiner.parser.article import read_article
from refiner.parser.draft import Draft, Layout
from refiner.parser.lines import BLANK, Line, read_lines
from refiner.parser.pair import STRUCTURE, TEXT, Pair
from refiner.parser.questions import find_questions, find_start

#: From the most certain layout to the least: the first that finds a pair counts.
_LAYOUTS = (
    Layout.LABELLED,
    Layout.LABELLED_ANSWERS,
    Layout.LABELLED_QUESTIONS,
    Layout.UNLABELLED,
)
_WITH_ANSWER_LABELS = (Layout.LABELLED, Layout.LABELLED_ANSWERS)
_WITH_QUESTION_LABELS = (Layout.LABELLED, Layout.LABELLED_QUESTIONS)


def read_written(text: str, *, is_cut: bool) -> Draft:
    """
    Read a text that is written as lines, in the first layout that finds a pair.

    Args:
        text: As `normalise` returns it, without tags and tables.
        is_cut: max_tokens ended the text. Its last pair is then dropped unless a line end follows
            the answer; after a list of answers, unless an empty line or anything else does.

    """
    lines = read_lines(text)
    draft = _read_lines(lines, is_cut=is_cut)
    below = _find_article_below(lines) if draft.qas and not draft.context else 0
    if not below:
        return draft
    turned = _read_lines([*lines[below:], BLANK, *lines[:below]], is_cut=False)
    return turned._replace(is_truncated=is_cut) if turned.qas and turned.context else draft


def _find_article_below(lines: Sequence[Line]) -> int:
    """Return the index of the last heading of the article, which is then below the pairs, or 0."""
    headings = [index for index, line in enumerate(lines) if line.kind is kinds.ARTICLE]
    return headings[-1] if headings else 0


def _read_lines(lines: list[Line], *, is_cut: bool) -> Draft:
    best = Layout.UNLABELLED, len(lines), _Pairs((), [])
    for layout in _LAYOUTS:
        if layout is Layout.LABELLED_QUESTIONS and best[0] is Layout.LABELLED and best[2].qas:
            continue  # The same questions.
        questions = find_questions(lines, layout)
        start = find_start(lines, questions, layout) if questions else None
        if start is None:
            continue
        pairs = _read_pairs(lines[start:], start, questions, layout, is_cut=is_cut)
        if len(pairs.qas) > len(best[2].qas) or not (best[2].qas or best[1] < start):
            best = layout, start, pairs
        if pairs.are_all and layout in _WITH_ANSWER_LABELS and pairs is best[2]:
            break
    layout, start, pairs = best
    article = read_article(lines[:start])
    return Draft(layout, article.text, pairs.qas, (*article.leftover, *pairs.leftover), is_cut)


class _Pairs(NamedTuple):
    """The pairs of some lines, and the lines that belong to none."""

    qas: tuple[QA, ...]
    leftover: list[str]
    #: No question has a second answer, which might be that of another question; without a label,
    #: none is without an answer either.
    are_all: bool = False


def _read_pairs(
    lines: Sequence[Line], start: int, questions: Collection[int], layout: Layout, *, is_cut: bool
) -> _Pairs:
    """Read the lines from index *start* on."""
    is_labelled = layout in _WITH_ANSWER_LABELS
    if is_cut and _begins_as(lines[max(questions) - start], lines[-1]):
        lines = [*lines[:-1], lines[-1]._replace(kind=kinds.ASIDE)]
    pairs, leftover = _collect(lines, start, questions, is_answer_labelled=is_labelled)
    is_unfinished = bool(pairs) and is_cut and not pairs[-1].is_ended
    last = _deal_answers(pairs, layout, is_cut=is_cut)
    if is_unfinished:
        leftover.extend(pairs.pop(last).lines)
    qas = [qa for pair in pairs if (qa := pair.to_qa(leftover))]
    # Where most questions have no answer and no label, they are hardly questions of pairs.
    is_doubtful = layout not in _WITH_QUESTION_LABELS and 2 * len(qas) < len(pairs)
    if is_doubtful:
        return _Pairs((), [line.raw for line in lines if line.kind not in STRUCTURE])
    are_all = bool(qas) and all(len(pair.answers) <= 1 for pair in pairs)
    if layout is Layout.LABELLED_ANSWERS:
        are_all = are_all and 1 < len(qas) == len(pairs)
    return _Pairs(tuple(qas), leftover, are_all)


def _collect(
    lines: Sequence[Line], start: int, questions: Collection[int], *, is_answer_labelled: bool
) -> tuple[list[Pair], list[str]]:
    """Return each question with the lines that belong to it, and the lines that belong to none."""
    pairs: list[Pair] = []
    leftover: list[str] = []
    for index, line in enumerate(lines, start):
        if index in questions:
            pairs.append(Pair.begin(line, is_answer_labelled=is_answer_labelled))
        elif line.kind is kinds.BLANK:
            if pairs:
                pairs[-1].num_blanks += 1
        elif pairs:
            if not pairs[-1].takes(line, is_answer_labelled=is_answer_labelled):
                leftover.append(line.raw)
        elif line.kind not in STRUCTURE:
            leftover.append(line.raw)
    return pairs, leftover


def _begins_as(question: Line, cut: Line) -> bool:
    """Whether the last line of a cut text is how another question began, up to its number."""
    begun = patterns.DIGITS.sub("", cut.raw)
    is_text = cut.kind in TEXT and cut.kind is not question.kind
    return is_text and patterns.DIGITS.sub("", question.raw).startswith(begun)


def _deal_answers(pairs: list[Pair], layout: Layout, *, is_cut: bool) -> int:
    """
    Give every question its own answer where one list of all answers follows the last one.

    Returns:
        The index of the last pair with an answer, which comes early where the list is cut.

    """
    if not pairs or pairs[0].answers:
        return -1
    answered = [index for index, pair in enumerate(pairs) if pair.answers]
    if len(answered) != 1:
        return -1
    # Below them, chatter may ask something as well.
    pairs = pairs[: answered[0] + 1]
    last = pairs[-1]
    answers = [lines for lines in last.answers if any(lines)]
    is_list_of_last = last.is_listed and layout in _WITH_QUESTION_LABELS
    is_dealt = len(answers) == len(pairs) or (is_cut and len(answers) < len(pairs))
    if is_list_of_last or not is_dealt:
        return -1
    for pair, lines in zip_longest(pairs, answers):
        pair.answers = [lines] if lines else []
    return len(answers) - 1
