"""
The texts the model learns to write, and the prompts it learns to follow.

Every article states every fact in exactly the words of the answers, so that an answer can always be
found in the article, as the prompt's criterion 5 asks.
"""

import json
import random
from dataclasses import dataclass
from typing import Final

from examples.flags.countries import Country, Setting
from producer.prompt import DEFAULT_PROMPT

#: How a question points at the picture without naming the country (criteria 1 and 2).
_SUBJECTS: Final = (
    "the country whose flag is shown",
    "the nation this flag stands for",
    "the country this flag belongs to",
)

#: Fact -> three ways to ask for it; {} is the subject.
_QUESTIONS: Final[dict[str, tuple[str, str, str]]] = {
    "capital": (
        "What is the capital of {}?",
        "Which city is the capital of {}?",
        "What is the capital city of {}?",
    ),
    "region": (
        "In which part of the world is {}?",
        "Which region is {} in?",
        "Where is {} located?",
    ),
    "languages": (
        "Which languages are spoken in {}?",
        "Which languages are in use in {}?",
        "What are the public languages of {}?",
    ),
    "currency": (
        "What is the currency of {}?",
        "Which money is used in {}?",
        "What is the official currency of {}?",
    ),
    "domain": (
        "What is the internet domain of {}?",
        "Which domain do websites of {} use?",
        "What is the top-level domain of {}?",
    ),
    "demonym": (
        "What are people from {} called?",
        "What is the demonym of {}?",
        "Which adjective describes people from {}?",
    ),
    Setting.BORDERS: (
        "Which countries border {}?",
        "What are the neighbours of {}?",
        "With whom does {} share a border?",
    ),
    Setting.COASTS: (
        "Which seas border {}?",
        "On which waters does {} have a coast?",
        "Which waters does {} face?",
    ),
    Setting.ISLAND: (
        "Which waters surround {}?",
        "In which waters does {} lie?",
        "What surrounds {}?",
    ),
}

#: Three ways to say where it is; {Name} begins a sentence.
_OPENINGS: Final = (
    "{Name} is a country in {region}. Its capital is {capital}.",
    "{Name}, with its capital {capital}, is a state in {region}.",
    "Located in {region}, {name} has {capital} as its capital.",
)
_LANGUAGES: Final = (
    "Its public languages include {languages}.",
    "Languages in use there include {languages}.",
    "Public life there is conducted in {languages}.",
)
_MONEY: Final = (
    "The currency is the {currency}, and the internet domain is {domain}.",
    "Its official money is the {currency}, its internet domain {domain}.",
    "The {currency} is its currency, and its websites end in {domain}.",
)
_DEMONYMS: Final = (
    "Its people are called {demonym}.",
    "The demonym is {demonym}.",
    "The adjective for its people is {demonym}.",
)
_SURROUNDINGS: Final[dict[Setting, tuple[str, str, str]]] = {
    Setting.BORDERS: (
        "It borders {places}.",
        "It shares land borders with {places}.",
        "By land it can be reached from {places}.",
    ),
    Setting.COASTS: (
        "It has coasts on {places}.",
        "Its coasts face {places}.",
        "By sea it can be reached from {places}.",
    ),
    Setting.ISLAND: (
        "It is surrounded by {places}.",
        "Its shores are washed by {places}.",
        "It is an island state in {places}.",
    ),
}

#: Title, headings and labels of an output; every question starts a line with its number.
_LAYOUTS: Final = (
    (
        "**{title}**\n\n{text}\n\n**Question Answer Pairs:**\n\n{pairs}",
        "{number}. **Question:** {question}\n   **Answer:** {answer}",
        "\n\n",
    ),
    (
        "# {title}\n\n{text}\n\n## Question Answer Pairs\n\n{pairs}",
        "{number}. Question: {question}\n   Answer: {answer}",
        "\n",
    ),
    (
        "Wikipedia Article: {title}\n\n{text}\n\nQuestion Answer Pairs:\n\n{pairs}",
        "{number}. Question: {question}\nAnswer: {answer}",
        "\n\n",
    ),
)


@dataclass(frozen=True, slots=True)
class Article:
    """One output before it is laid out; *pairs* are (question, answer)."""

    title: str
    text: str
    pairs: tuple[tuple[str, str], ...]


def compose(country: Country, rng: random.Random) -> Article:
    """Write an article with all facts of *country* and three to five questions about some."""
    facts = _facts(country)
    templates = [
        rng.choice(choices)
        for choices in (_LANGUAGES, _MONEY, _SURROUNDINGS[country.setting], _DEMONYMS)
    ]
    rng.shuffle(templates)
    name = country.full_name
    opening = rng.choice(_OPENINGS)
    text = " ".join(
        template.format(Name=name[0].upper() + name[1:], name=name, places=country.places, **facts)
        for template in (opening, *templates)
    )
    asked = rng.sample(sorted(facts), rng.choices((3, 4, 5), (5, 4, 1))[0])
    pairs = tuple(
        (rng.choice(_QUESTIONS[fact]).format(rng.choice(_SUBJECTS)), facts[fact]) for fact in asked
    )
    return Article(country.name, text, pairs)


def _facts(country: Country) -> dict[str, str]:
    """Every fact by the name its questions are found under."""
    return {
        "capital": country.capital,
        "region": country.region,
        "languages": country.languages,
        "currency": country.currency,
        "domain": country.domain,
        "demonym": country.demonym,
        country.setting: country.places,
    }


def render(article: Article, rng: random.Random) -> str:
    """Lay *article* out as a chat model would, in one of three styles."""
    page, pair, separator = rng.choice(_LAYOUTS)
    pairs = separator.join(
        pair.format(number=number, question=question, answer=answer)
        for number, (question, answer) in enumerate(article.pairs, 1)
    )
    return page.format(title=article.title, text=article.text, pairs=pairs)


def render_json(article: Article) -> str:
    """Lay *article* out as the object that structured outputs ask for."""
    qas = [{"question": question, "answer": answer} for question, answer in article.pairs]
    return json.dumps({"context": article.text, "qas": qas}, ensure_ascii=False)


def write_example(
    country: Country, rng: random.Random, json_share: float = 0.12
) -> tuple[str, str]:
    """
    Return a prompt and the output it should get.

    A part of *json_share* asks for JSON; two thirds of the others are the default prompt, whole.
    """
    article = compose(country, rng)
    if rng.random() < json_share:
        return vary_prompt(rng) + rng.choice(JSON_REQUESTS), render_json(article)
    prompt = DEFAULT_PROMPT if rng.random() < 0.66 else vary_prompt(rng)
    return prompt, render(article, rng)


JSON_REQUESTS: Final = (
    "\nReply in JSON.",
    '\nReply in JSON: {"context": …, "qas": [{"question": …, "answer": …}]}',
    '\nReply with a JSON object with "context" and "qas".',
)


def vary_prompt(rng: random.Random) -> str:
    """Return the default prompt, its first sentence, or the prompt with some criteria only."""
    head, *criteria = DEFAULT_PROMPT.split("\n")
    kind = rng.randrange(3)
    if kind == 0:
        return DEFAULT_PROMPT
    if kind == 1:
        return head.split(". ")[0] + "."
    kept = sorted(rng.sample(range(len(criteria)), rng.randint(1, len(criteria) - 1)))
    return "\n".join([head, *(criteria[k] for k in kept)])
