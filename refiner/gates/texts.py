"""What the gates look at: an article and its pairs, each folded once."""

import re
from collections.abc import Container
from typing import NamedTuple

from contextvqa.gates import Quality
from contextvqa.records import QA
from refiner.gates.folding import UNSPACED, Folded, find_phrase, fold, split_list
from refiner.gates.subject import Subject, find_subject

#: Characters of an article in which answers are looked for: what a hostile text costs is bounded.
_SEARCHED_CHARS = 65_536
#: Answers of one list that are looked at; nobody reads a list of more.
MAX_CANDIDATES = 20
#: Characters that tell the script of a text.
_SCRIPT_CHARS = 120
_NO_LATIN = re.compile(r"[\u0370-\u1fff\u3040-\ud7ff]")
_SCRIPTS = {
    "Latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
    "Cyrillic": re.compile(r"[\u0400-\u052f]"),
    "Greek": re.compile(r"[\u0370-\u03ff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff]"),
    "Hebrew": re.compile(r"[\u0590-\u05ff]"),
    "Devanagari": re.compile(r"[\u0900-\u097f]"),
    "Thai": re.compile(r"[\u0e00-\u0e7f]"),
    "Hangul": re.compile(r"[\uac00-\ud7af]"),
    "Han or kana": re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"),
}
_UNSPACED_RUN = re.compile(f"{UNSPACED.pattern}+")

#: From and to, in characters of the context as it is written.
Span = tuple[int, int]


class Article(NamedTuple):
    """An article, and what all gates ask of it."""

    context: str
    folded: Folded
    script: str
    subject: Subject | None
    is_truncated: bool
    quality: Quality


class Pair(NamedTuple):
    """A question and its answer, and what all gates ask of them."""

    question: str
    answer: str
    #: The question, folded.
    asked: str
    #: The answers of a comma list, folded, without articles and punctuation around them; of a longer
    #: one, one more than MAX_CANDIDATES.
    candidates: tuple[str, ...]
    #: Where each candidate stands in the context, None where it does not. A list that stands there
    #: as it is written has the one span.
    spans: tuple[Span | None, ...]
    #: The question, as far as two are the same question.
    key: str
    #: Whether a pair that was kept before asks the same.
    is_asked_again: bool


def read_article(text: str, context: str, quality: Quality, *, is_truncated: bool) -> Article:
    """Fold an article; *text* is all that the model wrote."""
    folded = fold(context)
    return Article(
        context,
        folded,
        script_of(context),
        find_subject(text, context, folded),
        is_truncated,
        quality,
    )


def read_pair(qa: QA, article: Article, questions: Container[str]) -> Pair:
    """Fold a pair, and look its answers up in the article; *questions* are keys of kept pairs."""
    answer = fold(qa.answer).text
    candidates = tuple(split_list(answer)[: MAX_CANDIDATES + 1])
    whole = answer.strip(" .")
    span = _find(whole, article) if whole and len(candidates) > 1 else None
    spans = (span,) if span else tuple(_find(candidate, article) for candidate in candidates)
    asked = fold(qa.question).text
    key = asked.strip(" ?.!")
    return Pair(qa.question, qa.answer, asked, candidates, spans, key, key in questions)


def script_of(text: str) -> str:
    """Return the name of the script that most of a text's beginning is in, "" for none of ours."""
    beginning = text[:_SCRIPT_CHARS]
    if beginning.isascii() or not _NO_LATIN.search(beginning):
        return "Latin"
    counts = {name: len(script.findall(beginning)) for name, script in _SCRIPTS.items()}
    script = max(counts, key=lambda name: counts[name])
    return script if counts[script] else ""


def num_words(text: str) -> int:
    """Return the number of words; of scripts without spaces, each character is one."""
    if text.isascii() or not UNSPACED.search(text):
        return len(text.split())
    spaced, num_runs = _UNSPACED_RUN.subn(" ", text)
    num_unspaced = len(text) - len(spaced) + num_runs
    return len(spaced.split()) + num_unspaced


def _find(candidate: str, article: Article) -> Span | None:
    """Return where an answer or its plural stands in the article."""
    for phrase in (candidate, f"{candidate}s"):
        start = find_phrase(phrase, article.folded.text, _SEARCHED_CHARS)
        if start >= 0:
            return article.folded.span(start, start + len(candidate))
    return None
