"""What a text is made of, where it is made of known words only: a heading, a tag, a table's head."""

from refiner.parser import labels, patterns

_PAIRS = labels.QUESTION | labels.ANSWER | labels.PAIRS | labels.PAIRS_FILLERS
_ARTICLE = labels.ARTICLE | labels.ARTICLE_FILLERS | labels.CONTEXT | labels.TITLE
_QUESTION = _PAIRS - labels.ANSWER
_ANSWER = _PAIRS - labels.QUESTION
#: A text made of known words begins with one of these.
KNOWN = _PAIRS | _ARTICLE


def words_of(text: str) -> set[str]:
    """Return the words of a text, casefolded; those written without spaces, apart."""
    words = set(patterns.WORD.findall(text.casefold()))
    if text.isascii():
        return words
    parts = {part for word in words for part in patterns.PART.findall(word)}
    return parts.difference(labels.JOINTS, labels.NUMERALS)


def names_pairs(words: set[str]) -> bool:
    """Whether a heading of these words is that of the pairs."""
    is_named = words & labels.PAIRS or (words & labels.QUESTION and words & labels.ANSWER)
    return bool(is_named) and words <= _PAIRS


def names_article(words: set[str]) -> bool:
    """Whether a heading of these words is that of the article, of its title or its context."""
    return bool(words) and words <= _ARTICLE


def names_question(words: set[str]) -> bool:
    """Whether a column or a tag of this name holds questions."""
    return bool(words & (labels.QUESTION | labels.PAIRS)) and words <= _QUESTION


def names_answer(words: set[str]) -> bool:
    """Whether a column or a tag of this name holds answers."""
    return bool(words & labels.ANSWER) and words <= _ANSWER
