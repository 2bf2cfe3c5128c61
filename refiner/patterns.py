"""The signs around words: what makes an item, a heading or a label of a line."""

import re

from refiner import labels

_LABEL_WORDS = sorted(labels.QUESTION | labels.ANSWER, key=len, reverse=True)
_ANY_LABEL_WORD = "|".join(map(str.upper, _LABEL_WORDS))
_LONG_LABEL_WORD = "(?i:" + "|".join(word for word in _LABEL_WORDS if len(word) > 1) + ")"
_COLON = f"[{labels.COLONS}]"
_DASH = f"[{labels.DASHES}]"
_NUMBER_END = f"[{labels.NUMBER_ENDS}]"
#: "Question - Answer Pairs" is a heading.
_LABEL_DASH = rf"{_DASH} (?!{_LONG_LABEL_WORD}\b)"
_QUESTION_MARK = f"[{labels.QUESTION_MARKS}]"

WORD = re.compile(r"[^\W\d_]+")
#: Whatever stands before a line's first word: bullets, numbers, hashes, stars, brackets.
HEAD = re.compile(r"[\W\d_]*+(?P<word>[^\W\d_]+)?")
COLON_SPLIT = re.compile(_COLON)
ITEM = re.compile(
    rf"[{labels.BULLETS}] (?=\S)"
    rf"|(?P<number>\*{{0,2}}\(?\d{{1,3}}{_NUMBER_END}\*{{0,2}})(?: (?=\S)|(?=[^\s\d.)]))"
)
HASHED = re.compile(r"(?:# |#{2,6}(?!#)) ?|={2,6} ")
#: Between a label's word and what it labels: number, colon, emphasis around either.
SEPARATOR = re.compile(
    r"[*_]{0,3} ?(?P<number>[(#]{0,2}\d{1,3}\)?)?[*_]{0,3} ?"
    rf"(?:{_COLON}|[】\]]{_COLON}?|(?(number){_NUMBER_END}|(?!))|{_LABEL_DASH}|(?<=[*_]) |\Z)"
    r"[*_]{0,3} ?"
)
#: As above without any sign, which only a question's own question mark makes believable.
BARE_SEPARATOR = re.compile(r" (?:\d{1,3} )?(?=[A-Z])")
MENTION = re.compile(
    r"\b(?:(?P<pairs>questions?|q ?& ?a)|(?P<wikipedia>wikipedia)|article)\b", re.IGNORECASE
)
ANSWER_MENTION = re.compile(r"\banswers?\b|q ?& ?a\b", re.IGNORECASE)
#: Without one of these after its beginning, a row holds no label inside.
LABEL_SIGN = re.compile(rf"{_COLON}|\d{_NUMBER_END}")


def _inline_label() -> re.Pattern[str]:
    """
    Return the pattern of the space before a label inside a line; its group is the label.

    A label of one letter must follow a pause: "vitamin A: 5 mg" has none.
    """
    mark = rf"(?:{_DASH}|[*_(\[|•]){{0,3}} ?(?:\(?\d{{1,3}}{_NUMBER_END} ?)?[*_]{{0,3}}"
    colon = rf"(?:[*_]{{0,3}} ?{_COLON}| ?\d{{1,3}}[*_]{{0,3}}(?:{_COLON}|{_NUMBER_END}))"
    pause = rf"(?:(?<=[{labels.PAUSES}])|(?<={_QUESTION_MARK}\*)|(?<={_QUESTION_MARK}\*\*))"
    return re.compile(
        rf"(?:(?<=\S) (?=(?P<long>{mark}{_LONG_LABEL_WORD}{colon}))"
        rf"|{pause} ?(?=(?P<short>{mark}(?:{_ANY_LABEL_WORD}){colon})))"
    )


INLINE_LABEL = _inline_label()
