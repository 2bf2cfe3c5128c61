"""Every gate with what it looks at, in the order in which they decide."""

from collections.abc import Callable
from typing import NamedTuple

from refiner.gates import of_articles, of_pairs
from refiner.gates.of_articles import markup, mojibake
from refiner.gates.texts import Article, Pair

#: What a gate found, in few words; None where it found nothing.
Evidence = str | None


class Gate(NamedTuple):
    """One gate. A name of `contextvqa.gates`, and at least one of the two checks."""

    name: str
    #: What is wrong with what fails it, for people.
    fault: str
    of_article: Callable[[Article], Evidence] | None = None
    of_pair: Callable[[Article, Pair], Evidence] | None = None


def _of_context(check: Callable[[str], Evidence]) -> Callable[[Article], Evidence]:
    return lambda article: check(article.context)


def _of_both(check: Callable[[str], Evidence]) -> Callable[[Article, Pair], Evidence]:
    return lambda _, pair: check(pair.question) or check(pair.answer)


GATES = (
    Gate("truncated", "The text was cut off", of_articles.truncated),
    Gate("refusal", "The article is a refusal", of_articles.refusal),
    Gate("repetition", "The article goes round in circles", of_articles.repetition),
    Gate("mojibake", "There are broken characters", _of_context(mojibake), _of_both(mojibake)),
    Gate("markup", "There is markup", _of_context(markup), _of_both(markup)),
    Gate("article_length", "The article is too short or too long", of_articles.article_length),
    Gate("image_reference", "The article points at the image", of_articles.image_reference),
    Gate("ir", "The article has a word of SK-VQA's list", of_articles.ir),
    Gate("ir_extended", "The article has a word of images", of_articles.ir_extended),
    Gate("language", "Article and pair differ in script", of_pair=of_pairs.language),
    Gate(
        "question_form", "The question is none, or no concise one", of_pair=of_pairs.question_form
    ),
    Gate("question_image", "Nothing points at the image", of_pair=of_pairs.question_image),
    Gate("entity_named", "The question names the subject", of_pair=of_pairs.entity_named),
    Gate("object_named", "The question names the object", of_pair=of_pairs.object_named),
    Gate("answer_form", "The answer is no comma list of phrases", of_pair=of_pairs.answer_form),
    Gate("answer_in_question", "The question has the answer", of_pair=of_pairs.answer_in_question),
    Gate("answer_is_subject", "The answer is the subject", of_pair=of_pairs.answer_is_subject),
    Gate("cap", "The answer is not in the article", of_pair=of_pairs.cap),
    Gate("cap_partial", "One answer is not in the article", of_pair=of_pairs.cap_partial),
    Gate("duplicate_question", "The question is asked twice", of_pair=of_pairs.duplicate_question),
)
