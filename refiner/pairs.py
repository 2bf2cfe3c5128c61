"""
The pairs of a text written in lines, in whichever of the line layouts it is.

Every layout is read by the same steps: find where its questions begin, take the article from what
stands before, then collect each question's lines and its answer's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contextvqa.records import QA
from refiner.article import read_article
from refiner.draft import Draft, Layout, make_qa
from refiner.lines import Kind, Line, read_lines

#: What a text must hold to be read in a layout. From the most certain layout to the least: the
#: first that finds a pair counts.
_NEEDED = {
    Layout.LABELLED: {Kind.QUESTION, Kind.ANSWER},
    Layout.LABELLED_ANSWERS: {Kind.ANSWER},
    Layout.LABELLED_QUESTIONS: {Kind.QUESTION},
    Layout.UNLABELLED: {Kind.PAIRS},
}
_WITH_ANSWER_LABELS = (Layout.LABELLED, Layout.LABELLED_ANSWERS)
_WITH_QUESTION_LABELS = (Layout.LABELLED, Layout.LABELLED_QUESTIONS)
_NO_CONTENT = (Kind.BLANK, Kind.RULE, Kind.HEADING, Kind.PAIRS)
_TEXT = (Kind.TEXT, Kind.ITEM, Kind.QUESTION)


def read_written(text: str, *, is_cut: bool) -> Draft:
    """
    Read a text that is written as lines, in the first layout that finds a pair.

    Args:
        text: As `normalise` returns it.
        is_cut: max_tokens ended the text. Its last pair is then dropped unless a line end follows
            the answer; after a list of answers, unless an empty line or anything else does.

    """
    lines = read_lines(text)
    kinds = {line.kind for line in lines}
    end_of_article = len(lines)
    for layout, needed in _NEEDED.items():
        start = _find_start(lines, layout) if needed <= kinds else None
        if start is None:
            continue
        end_of_article = min(end_of_article, start)
        qas = _read_pairs(lines[start:], layout, is_cut=is_cut)
        if qas:
            return Draft(layout, read_article(lines[:start]), qas)
    return Draft(Layout.UNLABELLED, read_article(lines[:end_of_article]), ())


def _is_question(line: Line, layout: Layout) -> bool:
    if layout in _WITH_QUESTION_LABELS:
        return line.kind is Kind.QUESTION
    return line.is_asking or (line.is_numbered and layout is Layout.LABELLED_ANSWERS)


def _find_start(lines: Sequence[Line], layout: Layout) -> int | None:
    """
    Return the index at which the article ends: that of the pairs' heading, or first question.

    A heading with a question right below it is certain. Without one, the first question that is
    answered counts, or the last heading between article and that question.
    """
    heading = _first_heading(lines, layout)
    if heading is not None or layout is Layout.UNLABELLED:
        return heading
    question = _first_answered(lines, layout)
    if question is None:
        return None
    is_article_seen = False
    start = question
    for index, line in enumerate(lines[:question]):
        is_article_seen = is_article_seen or line.kind in _TEXT
        if line.kind is Kind.PAIRS and is_article_seen:
            start = index
    return start


def _first_heading(lines: Sequence[Line], layout: Layout) -> int | None:
    heading = None
    for index, line in enumerate(lines):
        if line.kind is Kind.PAIRS:
            heading = index if heading is None else heading
        elif line.kind not in _NO_CONTENT:
            if heading is not None and _is_question(line, layout):
                return heading
            heading = None
    return None


def _first_answered(lines: Sequence[Line], layout: Layout) -> int | None:
    question = None
    for index, line in enumerate(lines):
        if _is_question(line, layout):
            question = index
        elif question is None or line.kind in _NO_CONTENT:
            continue
        elif line.kind is Kind.ANSWER or layout not in _WITH_ANSWER_LABELS:
            return question
        elif layout is Layout.LABELLED_ANSWERS:
            question = None  # Without a label, only the line right before an answer is certain.
    return None


def _read_pairs(lines: Sequence[Line], layout: Layout, *, is_cut: bool) -> tuple[QA, ...]:
    pairs: list[_Pair] = []
    for line in lines:
        if _is_question(line, layout):
            pairs.append(_Pair([line.text]))
        elif pairs:
            pairs[-1].take(line, is_answer_labelled=layout in _WITH_ANSWER_LABELS)
    if is_cut and pairs and not pairs[-1].is_ended:
        pairs.pop()
    _deal_answers(pairs, layout)
    qas = tuple(qa for pair in pairs if (qa := pair.to_qa()))
    # Where most questions have no answer and no label, they are hardly questions of pairs.
    is_doubtful = layout not in _WITH_QUESTION_LABELS and 2 * len(qas) < len(pairs)
    return () if is_doubtful else qas


def _deal_answers(pairs: list["_Pair"], layout: Layout) -> None:
    """Give every question its own answer where one list of all answers follows the last one."""
    if not pairs or any(pair.answers for pair in pairs[:-1]):
        return
    last = pairs[-1]
    answers = [lines for lines in last.answers if any(lines)]
    is_list_of_last = last.is_listed and layout in _WITH_QUESTION_LABELS
    if len(answers) == len(pairs) and not is_list_of_last:
        for pair, lines in zip(pairs, answers, strict=True):
            pair.answers = [lines]


@dataclass(slots=True)
class _Pair:
    """A question and the lines after it, up to the next question."""

    question: list[str]
    #: One entry per item of a list of answers, each the lines it is written on.
    answers: list[list[str]] = field(default_factory=list)
    num_blanks: int = 0
    is_listed: bool = False
    is_closed: bool = False

    def take(self, line: Line, *, is_answer_labelled: bool) -> None:
        if line.kind is Kind.BLANK:
            self.num_blanks += 1
        elif line.kind is Kind.ANSWER:
            self.answers.append([line.text] if line.text else [])
            self.num_blanks, self.is_closed = 0, False
        elif line.kind not in _TEXT:
            self.is_closed = self.is_closed or self._is_answered()
        elif self.answers or not (is_answer_labelled or self._is_unasked()):
            self._answer(line)
        else:
            self.question.append(line.text if self._is_unasked() else line.raw)

    def _answer(self, line: Line) -> None:
        """Add a line to the answer. An empty line ends it, unless a list goes on after it."""
        goes_on = self.is_listed and line.kind is Kind.ITEM
        self.is_closed = self.is_closed or (
            self.num_blanks > 0 and self._is_answered() and not goes_on
        )
        if self.is_closed:
            return
        self.num_blanks = 0
        if line.kind is Kind.ITEM:
            self.is_listed = True
            self.answers.append([line.text])
        elif self.answers:
            self.answers[-1].append(line.raw)
        else:
            self.answers.append([line.raw])

    @property
    def is_ended(self) -> bool:
        """Whether the text itself shows that the answer goes no further."""
        return self.is_closed or self.num_blanks > int(self.is_listed)

    def to_qa(self) -> QA | None:
        return make_qa(" ".join(self.question), [" ".join(lines) for lines in self.answers])

    def _is_unasked(self) -> bool:
        return not any(self.question)

    def _is_answered(self) -> bool:
        return any(map(any, self.answers))
