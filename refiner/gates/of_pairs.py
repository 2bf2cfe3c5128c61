"""The gates of each pair. Each returns what it found, or None: the pair passes."""

import re

from refiner.gates.folding import UNSPACED, find_phrase
from refiner.gates.of_articles import clip
from refiner.gates.texts import MAX_CANDIDATES, Article, Pair, num_words, script_of

#: Most words of one answer. A title or a name with its rank may have as many; a sentence has more.
_MAX_ANSWER_WORDS = 12
_SENTENCE = re.compile(
    r"(?:it|they|he|she|this|these|those|there|yes,|no,|the answer) (?:is|are|was|were|has|have|had|"
    r"can|because)\b|(?:yes|no), "
)
#: In what is longer than four words.
_CLAUSE = re.compile(r"\S (?:is|are|was|were|has been|have been) \S")
_MIN_CLAUSE_WORDS = 5
_LINKS = re.compile(
    r"(?<!hundred )(?<!thousand )\b(?:and|or|und|oder|et|ou|или)\b|(?<=\S) (?:y|e|o|и) (?=\S)"
    r"|以及|或者|和(?=[^平谐])|および"
)
_NAME_WITH_LINK = re.compile(r"[A-Z0-9À-Þ][\w.'-]* (?:and|or|und|et|y|e|ou) (?:the )?[A-Z0-9À-Þ]")

_MIN_QUESTION_WORDS = 2
_MAX_QUESTION_WORDS = 50
_MAX_QUESTION_CHARS = 600
_LABEL_INSIDE = re.compile(
    r"\b(?:answer|question|explanation|respuesta|antwort) ?\d{0,3}:|答案:|问题:"
)
_SECOND_QUESTION = re.compile(r"\?\W*(?:\w[\w'-]*\W+){2,}?\w+[^?]*\?")
_ASKING = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|has|"
    r"have|name|list|identify|describe|explain|state|give|tell|"
    r"qué|cuál|quién|cuándo|dónde|cómo|quel|quelle|qui|que|où|quand|comment|combien|"
    r"wer|wie|wo|wann|welche[rsmn]?|warum|qual|quem|quando|onde|como|quanto)\b"
    r"|什么|哪|谁|何|几|多少|怎|吗|か$"
)
_ENGLISH_ASKING = re.compile(r"\b(?:what|which|who|whom|whose|when|where|why|how)\b")
_POINTS_AT_IMAGE = re.compile(
    r"\b(?:this|these|that|those|its?|itself|they|them|their|he|him|his|she|hers?|here|"
    r"shown|seen|pictured|depicted|visible|displayed|featured|portrayed|image|picture|photo|"
    r"photograph|above|below)\b"
)
#: "the tower" points at something known, "the capital of" does not.
_DEFINITE = re.compile(r"\bthe (?!(?:[a-z'-]+ ){0,1}[a-z'-]+ of\b)[a-z]+")


def language(article: Article, pair: Pair) -> str | None:
    """The question is in another script than the article, or a stray one slipped in."""
    if pair.question.isascii() and pair.answer.isascii():
        return None if article.script == "Latin" else f"{article.script} article, Latin question"
    script = script_of(pair.question)
    if script and article.script and script != article.script:
        return f"{article.script} article, {script} question"
    return _stray(article, pair) if article.script == "Latin" else None


_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")


def _stray(article: Article, pair: Pair) -> str | None:
    """Return Han, kana or Hangul in a Latin pair that the article does not have."""
    runs = _HAN.findall(f"{pair.question} {pair.answer}")
    return next((run for run in runs if run not in article.context), None)


def question_form(article: Article, pair: Pair) -> str | None:  # noqa: ARG001 - as all gates
    """Criterion 4: it is no question, no single one, or too long."""
    asked = pair.asked
    if len(asked) > _MAX_QUESTION_CHARS:
        return f"{len(asked)} characters"
    count = num_words(asked)
    if not _MIN_QUESTION_WORDS <= count <= _MAX_QUESTION_WORDS:
        return f"{count} words"
    if ":" in asked and (label := _LABEL_INSIDE.search(asked)):
        return label[0]
    if asked.count("?") > 1 and _SECOND_QUESTION.search(asked):
        return "several questions"
    is_asking = "?" in asked or _ASKING.search(asked)
    return None if is_asking else "no question"


def question_image(article: Article, pair: Pair) -> str | None:
    """Criterion 1: nothing in an English question points at the image, not even a forbidden name."""
    asked = pair.asked
    if _POINTS_AT_IMAGE.search(asked) or not _ENGLISH_ASKING.search(asked):
        return None
    is_named = entity_named(article, pair) or object_named(article, pair)
    # As written: "the Louvre" is a name.
    return None if is_named or _DEFINITE.search(pair.question) else clip(pair.question)


def entity_named(article: Article, pair: Pair) -> str | None:
    """Criterion 2: the question has the proper name of the article's subject."""
    return _subject_in(article, pair, is_proper=True)


def object_named(article: Article, pair: Pair) -> str | None:
    """Criterion 2: the question has the common name of what the article is about."""
    return _subject_in(article, pair, is_proper=False)


def _subject_in(article: Article, pair: Pair, *, is_proper: bool) -> str | None:
    subject = article.subject
    if subject is None or subject.is_proper is not is_proper:
        return None
    names = (subject.name,) if is_proper else (subject.name, f"{subject.name}s")
    return next((name for name in names if find_phrase(name, pair.asked) >= 0), None)


def answer_form(article: Article, pair: Pair) -> str | None:
    """Criteria 7 and 8: more than words or phrases in a comma list, or joined by and, or."""
    answer = pair.answer
    if not pair.candidates:
        return "no word"
    if len(pair.candidates) > MAX_CANDIDATES:
        return f"more than {MAX_CANDIDATES} answers"
    if answer.isascii() and " " not in answer:
        return None
    longest = max(pair.candidates, key=len)
    count = num_words(longest)
    if count > _MAX_ANSWER_WORDS * (2 if UNSPACED.search(longest) else 1):
        return f"{count} words"
    if _SENTENCE.match(answer.lower()) or (count >= _MIN_CLAUSE_WORDS and _CLAUSE.search(answer)):
        return "a sentence"
    link = _LINKS.search(answer)
    return link[0].strip() if link and not _is_name(article, pair) else None


def _is_name(article: Article, pair: Pair) -> bool:
    """Whether each "and" belongs to a name that the article has, as in "Trinidad and Tobago"."""
    written = [article.context[span[0] : span[1]] for span in pair.spans if span]
    return len(written) == len(pair.spans) and not any(
        _LINKS.search(_NAME_WITH_LINK.sub("", one)) for one in written
    )


def answer_in_question(article: Article, pair: Pair) -> str | None:  # noqa: ARG001 - as all gates
    """The question has the answer in it."""
    asked = pair.asked
    return next((one for one in pair.candidates if find_phrase(one, asked) >= 0), None)


def answer_is_subject(article: Article, pair: Pair) -> str | None:
    """Criterion 6: an answer is what the article, and so the image, is about."""
    subject = article.subject
    if subject is None:
        return None
    # Plurals are of common names: the Lao are no part of Laos.
    ending = "s" if pair.answer.islower() else ""
    name = subject.name.removesuffix(ending)
    return next((one for one in pair.candidates if one.removesuffix(ending) == name), None)


def cap(article: Article, pair: Pair) -> str | None:  # noqa: ARG001 - as all gates
    """Criterion 5, SK-VQA's CAP: no answer stands in the article."""
    return None if any(pair.spans) else clip(pair.answer)


def cap_partial(article: Article, pair: Pair) -> str | None:  # noqa: ARG001 - as all gates
    """Criterion 5: some answers of a list stand in the article, and some do not."""
    if not any(pair.spans) or all(pair.spans):
        return None
    missing = (
        candidate
        for candidate, span in zip(pair.candidates, pair.spans, strict=True)
        if span is None
    )
    return clip(", ".join(missing))


def duplicate_question(article: Article, pair: Pair) -> str | None:  # noqa: ARG001 - as all gates
    """A kept pair before this one asks the same."""
    return clip(pair.question) if pair.is_asked_again else None
