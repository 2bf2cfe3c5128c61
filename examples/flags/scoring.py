"""Judge the model's outputs against the facts; needs no torch."""

import json
import re
from dataclasses import dataclass, fields
from typing import Final, Self

from examples.flags.countries import COUNTRIES, Country

_BY_NAME: Final = {country.name: country for country in COUNTRIES}

_PAIR: Final = re.compile(
    r"^\d+\. (?:\*\*)?Question:(?:\*\*)? (?P<question>.+)\n"
    r" *(?:\*\*)?Answer:(?:\*\*)? (?P<answer>.+)$",
    re.MULTILINE,
)
_HEADING: Final = re.compile(r"\n\n(?:\*\*|## )?Question Answer Pairs:?(?:\*\*)?\n\n")


@dataclass(frozen=True, slots=True)
class Output:
    """One text the model wrote for a flag of *country*; *finished* means it ended by itself."""

    country: Country
    text: str
    finished: bool
    num_tokens: int

    @classmethod
    def from_line(cls, row: dict[str, object], labels: dict[str, str]) -> Self:
        """Read one line of a run's results.jsonl; *labels* is the drawing's labels.json."""
        meta = row.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        return cls(
            _BY_NAME[labels[str(row["id"])]],
            str(row["vqa"]),
            meta.get("finish_reason") == "stop",
            int(meta.get("output_tokens") or 0),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What was right about one output.

    Attributes:
        country_right: The title and the article name the country that was drawn.
        parsed: Article and three to five complete pairs, numbered without a gap, nothing left over.
        in_article: Every answer stands in the article, word for word.
        facts_right: The article states all of the country's facts and every answer is one of them.
        finished: The model ended the text itself.
    """

    country_right: bool
    parsed: bool
    in_article: bool
    facts_right: bool
    finished: bool


def judge(output: Output) -> Verdict:
    """Judge a plain-text output."""
    parts = _HEADING.split(output.text)
    title, _, article = parts[0].partition("\n\n")
    title = title.removeprefix("Wikipedia Article: ").removeprefix("# ").strip("*")
    pairs = _PAIR.findall(parts[-1])
    numbers = re.findall(r"^(\d+)\. ", parts[-1], re.MULTILINE)
    is_whole = not _PAIR.sub("", parts[-1]).strip()
    parsed = (
        len(parts) == 2
        and bool(article)
        and is_whole
        and 3 <= len(pairs) <= 5
        and numbers == [str(k + 1) for k in range(len(pairs))]
    )
    country = output.country
    return Verdict(
        title == country.name and country.name in article,
        parsed,
        *_judge_facts(country, article, [answer for _, answer in pairs]),
        output.finished,
    )


def judge_json(output: Output) -> Verdict:
    """Judge an output that was asked for as JSON."""
    try:
        content = json.loads(output.text)
        article = str(content["context"])
        answers = [str(pair["answer"]) for pair in content["qas"]]
    except (ValueError, KeyError, TypeError):
        return Verdict(
            output.country.name in output.text,
            False,
            False,
            False,
            output.finished,
        )
    return Verdict(
        output.country.name in article,
        bool(answers),
        *_judge_facts(output.country, article, answers),
        output.finished,
    )


def _judge_facts(country: Country, article: str, answers: list[str]) -> tuple[bool, bool]:
    facts = {
        country.region,
        country.capital,
        country.languages,
        country.currency,
        country.places,
        country.domain,
        country.demonym,
    }
    in_article = bool(answers) and all(answer in article for answer in answers)
    return in_article, all(fact in article for fact in facts) and facts.issuperset(answers)


def summarize(verdicts: list[Verdict], num_expected: int) -> dict[str, float]:
    """Return the share of *num_expected* outputs for which each part of the verdict holds."""
    return {
        field.name: sum(bool(getattr(verdict, field.name)) for verdict in verdicts) / num_expected
        for field in fields(Verdict)
    }
