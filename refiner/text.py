"""Text as models write it, made plain: line ends, hidden thoughts, white space, emphasis."""

import re

#: Characters that take no room and would hide a label or an empty line.
_INVISIBLE = ("\ufeff", "\u200b", "\u2060")

_THOUGHT_BEGINS = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)

#: Stars that open or close emphasis: not the one of "2 * 3", nor the one of "2*3".
_STARS = re.compile(r"\*{2,}|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)")
_UNDERLINED = re.compile(r"(?<!\w)(_{1,2})(?=[^\s_])([^_]++)(?<=\S)\1(?!\w)")


def normalise(text: str) -> str:
    r"""Return *text* with `\n` line ends, without invisible characters and thoughts."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for character in _INVISIBLE:
        text = text.replace(character, "")
    return _drop_thoughts(text) if "<" in text else text


def plain(text: str) -> str:
    """Return *text* on one line, white space collapsed, without Markdown emphasis."""
    if "*" in text:
        text = _STARS.sub("", text)
    if "_" in text:
        text = _UNDERLINED.sub(r"\2", text)
    return " ".join(text.split())


def _drop_thoughts(text: str) -> str:
    """
    Drop `<think>…</think>`, and what stands before a lone `</think>` or after a lone `<think>`.

    A chat template may write the opening tag into the prompt; max_tokens may cut before the
    closing one.
    """
    *closed, last = _THOUGHT_ENDS.split(text)
    kept = [parts[0] for thought in closed if len(parts := _THOUGHT_BEGINS.split(thought, 1)) > 1]
    return "".join([*kept, _THOUGHT_BEGINS.split(last, 1)[0]])
