"""Text made comparable: NFKC, casefolded, plain quotes, dashes and spaces; and the way back."""

import re
import unicodedata
from bisect import bisect_right
from typing import NamedTuple

#: Replaced one to one, so that places in the text stay where they are.
_PLAIN = (
    *((quote, "'") for quote in "‘’‚‛′`´"),
    *((quote, '"') for quote in "“”„«»″"),
    *((dash, "-") for dash in "–—−‐‑"),
    *((space, " ") for space in "\u00a0\u202f\u2009\u3000\n\t"),
    *(("²", "2"), ("³", "3"), ("…", " ")),
    *zip("，：；！？（）", ",:;!?()", strict=True),
)
_PLAIN_ASCII = (("\n", " "), ("`", "'"), ("\t", " "))
#: Marks that NFKC joins with the character before them.
_MARKS = "\u0300-\u036f\u3099\u309a"
_CLUSTER = re.compile(rf"[\x00-\x7f]+(?![{_MARKS}])|.[{_MARKS}]*", re.DOTALL)

#: Scripts that put no spaces between words.
UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")

_ARTICLES = ("the ", "a ", "an ")
#: Not the dot of ".uk" before it.
_LEFT_EDGES = " ,;:!?\"'()[]。、"
_RIGHT_EDGES = _LEFT_EDGES + "."
_LIST_COMMA = re.compile(r",(?!\d)|[;、]")


class Folded(NamedTuple):
    """A text to compare with, and where its characters come from."""

    text: str
    #: Per character the place in the original that it comes from, and last the original's length;
    #: None where all stand in their own place.
    origins: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original that *start* to *end* comes from."""
        if self.origins is None:
            return start, end
        after_last = bisect_right(self.origins, self.origins[end - 1])
        return self.origins[start], self.origins[after_last]


def fold(text: str) -> Folded:
    """Fold a text; the time is linear in its length."""
    if text.isascii():
        for written, plain in _PLAIN_ASCII:
            text = text.replace(written, plain)
        return Folded(text.lower())
    for written, plain in _PLAIN:
        text = text.replace(written, plain)
    folded = text.casefold()
    # Casefolding makes nothing shorter: with an equal length, everything is in its place.
    if len(folded) == len(text) and unicodedata.is_normalized("NFKC", folded):
        return Folded(folded)
    return _fold_by_clusters(text)


def _fold_by_clusters(text: str) -> Folded:
    parts: list[str] = []
    origins: list[int] = []
    for match in _CLUSTER.finditer(text):
        cluster, start = match[0], match.start()
        if cluster.isascii():
            part = cluster.lower()
            origins.extend(range(start, match.end()))
        else:
            part = unicodedata.normalize("NFKC", cluster).casefold()
            origins.extend([start] * len(part))
        parts.append(part)
    return Folded("".join(parts), [*origins, len(text)])


def bare(folded: str) -> str:
    """Return a folded phrase without an article before it and punctuation around it."""
    phrase = folded.lstrip(_LEFT_EDGES).rstrip(_RIGHT_EDGES)
    if phrase.startswith(_ARTICLES):
        phrase = phrase.split(" ", 1)[1].lstrip(_LEFT_EDGES)
    return phrase


def split_list(folded: str) -> list[str]:
    """Return the answers of a comma list, bare. "1,000" is one answer."""
    if "," not in folded and ";" not in folded and "、" not in folded:
        candidate = bare(folded)
        return [candidate] if candidate else []
    return [candidate for part in _LIST_COMMA.split(folded) if (candidate := bare(part))]


#: Places that a phrase is looked at in one text. Further ones would make hostile texts slow.
_MAX_PLACES = 64


def find_phrase(phrase: str, text: str, end: int | None = None) -> int:
    """Return where a folded phrase stands in a folded text as whole words, else -1."""
    start = text.find(phrase, 0, end)
    for _ in range(_MAX_PLACES):
        if start < 0 or not (_joins(text, start) or _joins(text, start + len(phrase))):
            return start
        start = text.find(phrase, start + 1, end)
    return -1


def _joins(text: str, place: int) -> bool:
    """Whether the characters before and after a place belong to one word or number."""
    if place <= 0 or place >= len(text):
        return False
    before, after = text[place - 1], text[place]
    if before.isalnum() and after.isalnum():
        return not (UNSPACED.match(before) or UNSPACED.match(after))
    if before in ",." and after.isdigit():
        return place > 1 and text[place - 2].isdigit()
    return after in ",." and before.isdigit() and text[place + 1 : place + 2].isdigit()
