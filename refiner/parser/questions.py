"""Which lines begin a question, and where the pairs begin, in each of the line layouts."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from refiner.parser import kinds, labels, patterns
from refiner.parser.draft import Layout
from refiner.parser.kinds import Mark
from refiner.parser.lines import Line, is_asking

_NO_CONTENT = frozenset((kinds.BLANK, kinds.RULE, kinds.HEADING, kinds.PAIRS))
_TEXT = frozenset((kinds.TEXT, kinds.ITEM))
_WITH_ANSWER_LABELS = (Layout.LABELLED, Layout.LABELLED_ANSWERS)
#: Without a heading of the pairs, fewer are headings of the article.
_MIN_ASKING_HEADINGS = 2
_HEADING_MARKS = (kinds.HASHES, kinds.BOLD)
_ORDER_ENDS = tuple(labels.SENTENCE_ENDS + labels.COLONS)
#: What stands above a question without being one.
_ABOVE = frozenset((kinds.BLANK, kinds.RULE))


def find_questions(lines: Sequence[Line], layout: Layout) -> Collection[int]:
    """Return the indices of the lines that begin a question; none where the layout is another."""
    if layout is Layout.UNLABELLED:
        return set(_unlabelled(lines))
    if layout is Layout.LABELLED_ANSWERS:
        return set(_answered(lines))
    return {index for index, line in enumerate(lines) if line.kind is kinds.QUESTION}


def find_start(lines: Sequence[Line], questions: Collection[int], layout: Layout) -> int | None:
    """
    Return the index at which the article ends: that of the pairs' heading, or first question.

    A heading with a question right below it is certain. Without one, the first question that is
    answered counts, or the last heading between article and that question.
    """
    heading = _first_heading(lines, questions)
    if heading is not None:
        return heading
    if layout in _WITH_ANSWER_LABELS:
        # Without a label, only the line right above an answer is certain to be a question.
        is_right_above = layout is not Layout.LABELLED
        question = _first_with_labelled_answer(lines, questions, is_right_above=is_right_above)
    else:
        question = _first_with_answer(lines, questions)
    if question is None:
        return None
    is_article_seen = False
    start = question
    for index, line in enumerate(lines[:question]):
        is_article_seen = is_article_seen or line.kind in _TEXT or line.kind is kinds.QUESTION
        if line.kind is kinds.PAIRS and is_article_seen:
            start = index
    return start


def _first_heading(lines: Sequence[Line], questions: Collection[int]) -> int | None:
    heading = None
    for index, line in enumerate(lines):
        if line.kind is kinds.PAIRS:
            heading = index if heading is None else heading
        elif heading is not None:
            if index in questions:
                return heading
            if line.kind not in _NO_CONTENT:
                heading = None
    return None


def _first_with_labelled_answer(
    lines: Sequence[Line], questions: Collection[int], *, is_right_above: bool
) -> int | None:
    """Return the first question with a labelled answer below it, or right below it."""
    label = None if is_right_above else _label_of(lines[max(questions)])
    question = None
    for index, line in enumerate(lines):
        if index in questions:
            # Of questions right below one another, the first, if it certainly is one: the answers
            # to all of them may stand below.
            if question is None or is_right_above or not is_asking(lines[question].text):
                question = index
        elif question is None or line.kind in _NO_CONTENT:
            continue
        elif line.kind is kinds.ANSWER:
            if not _is_prose(lines, question, index, label):
                return question
            question = None
        elif is_right_above:
            question = None
    return None


def _first_with_answer(lines: Sequence[Line], questions: Collection[int]) -> int | None:
    """Return the first question with anything but another question behind or below it."""
    question = None
    for index, line in enumerate(lines):
        if index in questions:
            question = index
            if patterns.ASKED_AND_ANSWERED.match(line.text):
                return question
        elif question is not None and line.kind not in _NO_CONTENT:
            if line.kind is not kinds.ANSWER:
                return question
            question = None  # With labels it was no pair: the article's, rather.
    return None


def _is_prose(lines: Sequence[Line], question: int, answer: int, label: str | None) -> bool:
    """
    Whether question and answer, of which the former asks nothing, are lines of the article.

    They are where the article goes on after them, or, below text, where what labels the question
    is another word than *label*, that of the last question; None where questions have no label.
    """
    asked = lines[question].text
    if is_asking(asked) or not (asked and lines[answer].text):
        return False
    below = answer + 1
    while below < len(lines) and lines[below].kind in _ABOVE:
        below += 1
    if below < len(lines):
        line = lines[below]
        if line.kind is kinds.TEXT and line.mark is kinds.UNMARKED:
            return True
    is_below_text = (
        label is not None and question > 0 and lines[0].kind not in {kinds.QUESTION, kinds.ANSWER}
    )
    return is_below_text and _label_of(lines[question]) != label


def _label_of(line: Line) -> str:
    head = patterns.HEAD.match(line.raw)
    return (head and head["word"]) or ""


def _answered(lines: Sequence[Line]) -> Iterator[int]:
    """
    Yield lines that are numbered or ask, and any block above an answer.

    Such a block must stand right below a heading of the pairs, or below one of those lines.
    """
    block: int | None = None
    is_asked = is_below_heading = is_broken = is_list = False
    for index, line in enumerate(lines):
        if line.kind in _ABOVE:
            is_broken = True
        elif line.kind is kinds.PAIRS:
            block, is_below_heading = None, True
        elif line.kind is kinds.ANSWER:
            is_asked = is_asked or is_below_heading
            if is_asked and block is not None:
                yield block
            block, is_list = None, not line.text
        elif line.kind in _TEXT or line.mark is not kinds.UNMARKED:
            if is_asking(line.text) or (line.mark is kinds.NUMBER and not is_list):
                yield index
                block, is_asked = index, True
            elif is_broken or block is None:
                is_below_heading = is_below_heading and block is None
                block = index
            is_broken = False
            is_list = is_list and line.kind is kinds.ITEM


def _unlabelled(lines: Sequence[Line]) -> Iterator[int]:
    """
    Yield lines that ask, below a heading or else from the first one that is marked.

    What marks the first of them, marks the others, so that they need not end in a question mark.
    """
    first = _first_unlabelled(lines)
    if first is None:
        return
    mark = lines[first].mark
    for index in range(first, len(lines)):
        line = lines[index]
        if line.kind in _TEXT or line.mark is not kinds.UNMARKED:
            is_alike = line.mark is mark and (mark in _TELLING or _orders(line.text))
            if is_alike or _asks(line):
                yield index


def _first_unlabelled(lines: Sequence[Line]) -> int | None:
    """Return the first question below a heading, else the first that is marked."""
    marked = None
    alike = None
    asking = _count_asking_marks(lines)
    commonest = max(asking, key=asking.__getitem__, default=None)
    is_below_heading = False
    for index, line in enumerate(lines):
        if line.kind is kinds.PAIRS:
            is_below_heading = True
        elif line.kind in _TEXT or line.mark is not kinds.UNMARKED:
            if _asks(line):
                if is_below_heading:
                    return index
                if marked is None and line.mark is commonest:
                    marked = index
            elif is_below_heading and alike is None and line.mark in _TELLING:
                alike = index if line.mark in asking else None
            is_below_heading = False
    return marked if alike is None else alike


def _count_asking_marks(lines: Sequence[Line]) -> Counter[Mark]:
    """Count by their marks the lines that ask, without headings of the article that ask as well."""
    asking = Counter(line.mark for line in lines if line.mark is not kinds.UNMARKED and _asks(line))
    for mark in _HEADING_MARKS:
        if asking[mark] < _MIN_ASKING_HEADINGS:
            del asking[mark]
    return asking


#: A line with one of these is a question where the first question has it.
_TELLING = frozenset((kinds.NUMBER, kinds.HASHES, kinds.BOLD))


def _orders(text: str) -> bool:
    """Whether a text is a task rather than a question: "Name its architect."."""
    head = patterns.HEAD.match(text)
    is_order = head is not None and (head["word"] or "").casefold() in labels.ORDERS
    return is_order and text.rstrip("*_ ").endswith(_ORDER_ENDS)


def _asks(line: Line) -> bool:
    """Whether a line is a question, or begins with one and goes on with its answer."""
    is_marked = line.mark is not kinds.UNMARKED or line.raw.startswith("**")
    return is_asking(line.text) or (
        is_marked and patterns.ASKED_AND_ANSWERED.match(line.text) is not None
    )
