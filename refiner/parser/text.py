"""Text as models write it, made plain: line ends, hidden thoughts, white space, emphasis."""

import re

#: All white space but the space and the line end, which both stay.
_SPACES = (
    *"\t\v\f\x1c\x1d\x1e\x1f",
    *"\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a",
    *"\u2028\u2029\u202f\u205f\u3000",
)
#: Characters that take no room and would hide a label or an empty line.
_INVISIBLE = ("\ufeff", "\u200b", "\u2060", "\ufe0f")
#: Found in half the time that `in` takes in a whole text.
_TWO_SPACES = re.compile("  ")
_SEVERAL_SPACES = re.compile("  +")

_THOUGHT_BEGINS = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)

#: Stars that open or close emphasis: not the one of "2 * 3", nor the one of "2*3".
_STARS = re.compile(r"\*{2,}|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)")
_UNDERLINED = re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^_]++)(?<=\S)\1(?!\w)")


def normalise(text: str) -> str:
    r"""Return *text* with `\n` line ends, without invisible characters and thoughts."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        for character in _INVISIBLE:
            text = text.replace(character, "")
    return _drop_thoughts(text) if "<" in text else text


def collapse(text: str) -> str:
    r"""Return *text* without any white space but line ends and single spaces."""
    # `in` and `replace` are many times faster than a regular expression over the whole text.
    for space in _SPACES[:7] if text.isascii() else _SPACES:
        if space in text:
            text = text.replace(space, " ")
    return _SEVERAL_SPACES.sub(" ", text) if _TWO_SPACES.search(text) else text


def plain(text: str) -> str:
    """Return *text*, a collapsed line, without Markdown emphasis and code marks."""
    bare = text
    if "*" in bare:
        bare = _STARS.sub("", bare)
    if "_" in bare:
        bare = _UNDERLINED.sub(r"\2", bare)
    return text if bare is text else " ".join(bare.split())


def _drop_thoughts(text: str) -> str:
    """
    Drop `<think>…</think>`, and what stands before a lone `</think>` or after a lone `<think>`.

    A chat template may write the opening tag into the prompt; max_tokens may cut before the
    closing one.
    """
    *closed, last = _THOUGHT_ENDS.split(text)
    kept = [parts[0] for thought in closed if len(parts := _THOUGHT_BEGINS.split(thought, 1)) > 1]
    return "".join([*kept, _THOUGHT_BEGINS.split(last, 1)[0]])
