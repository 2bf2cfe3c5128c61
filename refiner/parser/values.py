"""What a decoded JSON value says: its pairs and its article, whatever their keys are called."""

from collections.abc import Collection, Iterable, Iterator

from contextvqa.records import QA
from refiner.parser import labels
from refiner.parser.draft import make_qa
from refiner.parser.lines import is_asking
from refiner.parser.words import words_of

#: Deepest place of a list of pairs, of an article, and of a pair that a cut value is closed after.
MAX_DEPTH = 4
#: Letters of the keys of an article, where no key is made of the words for one.
_CONTEXT_KEYS = frozenset(
    ("content", "text", "body", "paragraphs", "sections", "articletext", "wikiarticle")
)
_ARTICLE_WORDS = labels.ARTICLE | labels.CONTEXT


def pairs_of(value: object, depth: int = 0) -> Iterator[QA]:
    """Yield the pairs of a value: objects, members that are numbered, questions as keys, lists."""
    if depth > MAX_DEPTH:
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
        yield from pairs_of(item, depth + 1)


def _lists_of_two(value: list[object]) -> list[tuple[object, object]]:
    """Return the pairs of a list of lists of two, or of one of them; of questions, most ask."""
    match value:
        case [str() as asked, answered] if is_asking(asked):
            return [(asked, answered)]
    pairs: list[tuple[object, object]] = []
    num_asking = 0
    for item in value:
        match item:
            case [str() as asked, answered]:
                pairs.append((asked, answered))
                num_asking += is_asking(asked)
    return pairs if 2 * num_asking > len(value) else []


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


def context_of(value: object, depth: int = 0) -> str:
    """Return the article of a value as paragraphs, else ""."""
    if depth > MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return next(filter(None, (context_of(item, depth + 1) for item in value)), "")
    if not isinstance(value, dict):
        return ""
    named = [item for key, item in value.items() if words_of(key) & _ARTICLE_WORDS]
    named += [item for key, item in value.items() if _letters(key) in _CONTEXT_KEYS]
    found = next(filter(None, (_paragraphs(item, depth + 1) for item in named)), "")
    inner = (item for item in value.values() if isinstance(item, dict))
    return found or next(filter(None, (context_of(item, depth + 1) for item in inner)), "")


def _paragraphs(value: object, depth: int) -> str:
    """
    Return a string as it is, the texts of a list or object as paragraphs, anything else as "".

    Of an object without a key for its text, the keys are headings; a title is no text.
    """
    if isinstance(value, str) or depth > MAX_DEPTH:
        return value if isinstance(value, str) else ""
    items: Iterable[object] = ()
    if isinstance(value, list):
        items = value
    elif isinstance(value, dict):
        found = context_of(value, depth + 1)
        if found:
            return found
        items = (item for key, item in value.items() if not words_of(key) & labels.TITLE)
    return "\n\n".join(filter(None, (_paragraphs(item, depth + 1) for item in items)))
