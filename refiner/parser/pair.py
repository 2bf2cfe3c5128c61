"""One pair as it is collected: a question and the lines after it, up to the next question."""

from dataclasses import dataclass, field

from contextvqa.records import QA
from refiner.parser import kinds, labels, patterns
from refiner.parser.draft import make_qa
from refiner.parser.kinds import Mark
from refiner.parser.lines import Line, is_asking

#: What a question or an answer may go on with.
TEXT = frozenset((kinds.TEXT, kinds.ITEM, kinds.QUESTION))
#: No text at all.
STRUCTURE = frozenset((kinds.BLANK, kinds.RULE, kinds.HEADING, kinds.PAIRS))
_BULLETS = frozenset(labels.BULLETS)
_COLON_ENDS = tuple(labels.COLONS)


@dataclass(slots=True)
class Pair:
    """A question and the lines after it, up to the next question."""

    question: list[str]
    #: One entry per item of a list of answers, each the lines it is written on.
    answers: list[list[str]] = field(default_factory=list)
    num_blanks: int = 0
    #: What the items of a list of answers begin with.
    mark: Mark = kinds.UNMARKED
    is_closed: bool = False

    @classmethod
    def begin(cls, line: Line, *, is_answer_labelled: bool) -> "Pair":
        """Return the pair whose question a line begins, with its answer where that has no label."""
        on_one_line = None if is_answer_labelled else patterns.ASKED_AND_ANSWERED.match(line.text)
        if on_one_line is None:
            return cls([line.text] if line.text else [])
        return cls([on_one_line["question"]], [[on_one_line["bracketed"] or on_one_line["answer"]]])

    def takes(self, line: Line, *, is_answer_labelled: bool) -> bool:
        """Add a line that is not blank; return whether it belongs here, or is no text at all."""
        if line.kind is kinds.ANSWER:
            self._begin_answer(line.text)
            return True
        if line.kind not in TEXT:
            self.is_closed = self.is_closed or self._is_answered()
            return line.kind in STRUCTURE
        if self.answers or not (is_answer_labelled or self._is_asked_on(line)):
            return self._answers(line)
        self.question.append(line.raw if self.question else line.text)
        return True

    def _begin_answer(self, text: str) -> None:
        """Take what stands behind an answer's label: a list may begin there."""
        self.num_blanks, self.is_closed = 0, False
        item = patterns.ITEM.match(text) if text[:1] in _BULLETS else None
        if item:
            self.mark, text = kinds.BULLET, text[item.end() :]
        if not (self.answers and not self.answers[-1]):
            self.answers.append([])
        if text:
            self.answers[-1].append(text)

    def _answers(self, line: Line) -> bool:
        """Add a line to the answer; return whether it is part of it."""
        self.is_closed = self.is_closed or (self._is_answered() and self._ends_before(line))
        if self.is_closed:
            return False
        self.num_blanks = 0
        if line.kind is kinds.ITEM:
            self.mark = line.mark
            self.answers.append([line.text])
        elif self.answers:
            self.answers[-1].append(line.raw)
        else:
            self.answers.append([line.raw])
        return True

    def _is_asked_on(self, line: Line) -> bool:
        """Whether the question goes on in a line: it has not begun, or its question mark comes."""
        if not self.question:
            return True
        return not self.num_blanks and is_asking(line.raw) and not is_asking(self.question[-1])

    def _ends_before(self, line: Line) -> bool:
        """Whether a line is no part of the answer: below an empty line, or an item out of place."""
        if not self.answers[-1]:
            return False  # Another label of an answer stands right above.
        if line.kind is not kinds.ITEM:
            return self.num_blanks > 0
        if self.is_listed:
            return line.mark is not self.mark
        return not self.answers[-1][-1].endswith(_COLON_ENDS)

    @property
    def is_listed(self) -> bool:
        """Whether the answer is a list of items."""
        return self.mark is not kinds.UNMARKED

    @property
    def is_ended(self) -> bool:
        """Whether the text itself shows that the answer goes no further."""
        return self._is_answered() and (self.is_closed or self.num_blanks > int(self.is_listed))

    @property
    def lines(self) -> list[str]:
        """What was taken."""
        return [*self.question, *(line for lines in self.answers for line in lines)]

    def to_qa(self, leftover: list[str]) -> QA | None:
        """Return the pair; where it is none, add its lines to the leftover."""
        qa = make_qa(" ".join(self.question), [" ".join(lines) for lines in self.answers])
        if qa is None:
            leftover.extend(self.lines)
        return qa

    def _is_answered(self) -> bool:
        return any(map(any, self.answers))
