"""
The parser: what a vision-language model wrote, as a record or a reason why it is none.

A text is normalised, read as JSON if it holds any, else its tags and tables are written out as
labelled lines, and the lines are read. What every reader hands back is a draft; here it is judged.
"""

from dataclasses import dataclass
from html import unescape

from contextvqa.errors import Reason
from contextvqa.records import ContextVQA
from refiner.parser.draft import Draft, Layout
from refiner.parser.markup import write_out_tables, write_out_tags
from refiner.parser.objects import read_objects
from refiner.parser.pairs import read_written
from refiner.parser.patterns import REFUSAL
from refiner.parser.text import normalise

#: vLLM's word for a text that max_tokens ended.
_CUT = "length"
#: A refusal comes at once; further on, an article may well quote one.
_MAX_REFUSAL_BEGIN_CHARS = 300


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text that makes a record: an article and at least one whole pair."""

    context_vqa: ContextVQA
    #: How the pairs were written.
    layout: Layout
    #: The text breaks off: max_tokens ended it, or its JSON is not closed. Of the last pair, what
    #: was not whole is left over.
    is_truncated: bool
    #: What is neither article nor pair nor heading, line by line: chatter, explanations, questions
    #: without an answer.
    leftover: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unparsed:
    """A text that makes no record."""

    #: One of the `parse.*` reasons.
    reason: Reason
    #: One line for people.
    message: str
    #: The article, as far as one was found, else "".
    context: str = ""
    #: As of a Parsed.
    is_truncated: bool = False
    leftover: str = ""


ParsedText = Parsed | Unparsed


def parse(text: str, finish_reason: str = "stop") -> ParsedText:
    """
    Read an article and its question/answer pairs.

    Pure; the time is linear in the length of *text*, whatever it holds. Pairs stay in the order
    they are written in, duplicates included.

    Args:
        text: Everything the model wrote.
        finish_reason: As vLLM says it. After "length" the last pair is dropped unless the text
            goes on after its answer, by a line end at least: a cut answer looks like a whole one.

    Returns:
        Parsed, with a context that is not empty and one pair or more, whose question and answer
        are not empty; else Unparsed.

    """
    if not text.strip():
        return Unparsed(reason=Reason.PARSE_EMPTY, message="The model wrote nothing.")
    is_cut = finish_reason == _CUT
    clean = normalise(text)
    draft = read_objects(clean) or _read_lines(clean, is_cut=is_cut)
    if not draft.qas:
        return _without_pairs(clean, draft, is_cut=is_cut)
    if not draft.context:
        return Unparsed(
            reason=Reason.PARSE_NO_CONTEXT,
            message=f"Found {len(draft.qas)} question/answer pairs and no article before them.",
            is_truncated=draft.is_truncated,
            leftover="\n".join(draft.leftover),
        )
    return Parsed(
        ContextVQA(context=draft.context, qas=draft.qas),
        draft.layout,
        draft.is_truncated,
        "\n".join(draft.leftover),
    )


def _read_lines(text: str, *, is_cut: bool) -> Draft:
    is_tagged = is_table = False
    if "<" in text or "[" in text:
        text, is_tagged = write_out_tags(text)
    if "&" in text:
        text = unescape(text)
    if "|" in text:
        text, is_table = write_out_tables(text)
    draft = read_written(text, is_cut=is_cut)
    if draft.layout is Layout.LABELLED and (is_tagged or is_table):
        return draft._replace(layout=Layout.TAGGED if is_tagged else Layout.TABLE)
    return draft


def _without_pairs(clean: str, draft: Draft, *, is_cut: bool) -> Unparsed:
    leftover = "\n".join(draft.leftover)
    if REFUSAL.search(clean, 0, _MAX_REFUSAL_BEGIN_CHARS):
        return Unparsed(
            reason=Reason.PARSE_REFUSAL,
            message="The model refused to write.",
            is_truncated=is_cut,
            leftover=clean.strip(),
        )
    if is_cut:
        return Unparsed(
            reason=Reason.PARSE_TRUNCATED,
            message="max_tokens cut the text before its first question/answer pair was whole.",
            context=draft.context,
            is_truncated=True,
            leftover=leftover,
        )
    if not clean.strip():
        return Unparsed(
            reason=Reason.PARSE_EMPTY, message="The model wrote its thoughts and nothing else."
        )
    return Unparsed(
        reason=Reason.PARSE_NO_PAIRS,
        message="Found no question that is followed by an answer.",
        context=draft.context,
        leftover=leftover,
    )
