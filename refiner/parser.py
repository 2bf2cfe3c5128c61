"""The parser: what a vision-language model wrote, as a record or a reason why it is none."""

from dataclasses import dataclass

from contextvqa.errors import Reason
from contextvqa.records import ContextVQA
from refiner.draft import Layout
from refiner.objects import read_objects
from refiner.pairs import read_written
from refiner.text import normalise

#: vLLM's word for a text that max_tokens ended.
_CUT = "length"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """A text that makes a record: an article and at least one whole pair."""

    context_vqa: ContextVQA
    #: How the pairs were written.
    layout: Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Unparsed:
    """A text that makes no record."""

    #: One of the `parse.*` reasons.
    reason: Reason
    #: One line for people.
    message: str
    #: The article, as far as one was found, else "".
    context: str = ""


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
    draft = read_objects(clean) or read_written(clean, is_cut=is_cut)
    if not draft.qas:
        return _without_pairs(clean, draft.context, is_cut=is_cut)
    if not draft.context:
        return Unparsed(
            reason=Reason.PARSE_NO_CONTEXT,
            message=f"Found {len(draft.qas)} question/answer pairs and no article before them.",
        )
    return Parsed(context_vqa=ContextVQA(context=draft.context, qas=draft.qas), layout=draft.layout)


def _without_pairs(clean: str, context: str, *, is_cut: bool) -> Unparsed:
    if is_cut:
        return Unparsed(
            reason=Reason.PARSE_TRUNCATED,
            message="max_tokens cut the text before its first question/answer pair was whole.",
            context=context,
        )
    if not clean.strip():
        return Unparsed(
            reason=Reason.PARSE_EMPTY, message="The model wrote its thoughts and nothing else."
        )
    return Unparsed(
        reason=Reason.PARSE_NO_PAIRS,
        message="Found no question that is followed by an answer.",
        context=context,
    )
