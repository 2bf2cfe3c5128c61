"""The gates: each planted defect is found by its gate and by no other, and good texts pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextvqa.errors import Reason
from contextvqa.gates import NAMES, Action, Quality, code_of
from contextvqa.records import QA, ContextVQA
from refiner.gates.judge import Judged, judge
from refiner.gates.table import GATES
from refiner.parser.draft import Layout
from refiner.parser.parsing import Parsed

#: Everything is noted, nothing dropped.
FLAG_ALL = Quality(actions=dict.fromkeys(NAMES, Action.FLAG))

TITLE = "Eiffel Tower"
CONTEXT = (
    "The Eiffel Tower is a wrought-iron lattice tower in Paris, the capital of France. It was "
    "completed in 1889 and is 330 metres tall.\n\nGustave Eiffel's company built it for a world "
    "fair. Its colours have been red, yellow and brown, and 5,889,000 people came in 2022."
)
GOOD = QA(question="In which city does this structure stand?", answer="Paris")
MORE = (
    QA(question="When was it completed?", answer="1889"),
    QA(question="Which colours has the structure shown had?", answer="red, yellow, brown"),
)


def judged(
    *qas: QA,
    context: str = CONTEXT,
    title: str = TITLE,
    quality: Quality = FLAG_ALL,
    is_truncated: bool = False,
) -> Judged:
    parsed = Parsed(
        context_vqa=ContextVQA(context=context, qas=qas or (GOOD, *MORE)),
        layout=Layout.LABELLED,
        is_truncated=is_truncated,
        leftover="",
    )
    return judge(parsed, f"# {title}\n\n{context}\n\n…", quality)


def found(verdict: Judged) -> set[str]:
    return {finding.gate.name for finding in verdict.findings}


def pair(question: str = GOOD.question, answer: str = GOOD.answer) -> tuple[QA, ...]:
    return (QA(question=question, answer=answer),)


def with_opening(sentence: str) -> str:
    return f"{sentence} {CONTEXT}"


DEFECTS: list[tuple[str, dict[str, object], tuple[QA, ...]]] = [
    ("truncated", {"is_truncated": True}, ()),
    ("refusal", {"context": with_opening("I'm sorry, but I can't say what this is.")}, ()),
    ("refusal", {"context": with_opening("Unfortunately, I am unable to help with that.")}, ()),
    ("repetition", {"context": CONTEXT + " It is visited by many people." * 3}, ()),
    ("repetition", {"context": CONTEXT + " It has iron, more iron, more iron" * 20}, ()),
    ("mojibake", {"context": CONTEXT.replace("Paris", "Paris (la citÃ©)")}, ()),
    ("mojibake", {"context": CONTEXT.replace("world", "world\ufffd")}, ()),
    ("mojibake", {}, pair("In which city\x07 does this structure stand?")),
    ("markup", {"context": CONTEXT.replace("lattice", "**lattice**")}, ()),
    ("markup", {"context": CONTEXT.replace("lattice", "lattice[1]")}, ()),
    ("markup", {"context": CONTEXT + "<|im_end|>"}, ()),
    ("markup", {}, pair("In which [city](http://x.org) does this structure stand?")),
    (
        "article_length",
        {"context": "The Eiffel Tower is a tower in Paris, and it is tall."},
        pair(),
    ),
    ("image_reference", {"context": CONTEXT + " It is seen here at night."}, ()),
    ("ir", {"context": CONTEXT + " It is the subject of a painting by Seurat."}, ()),
    ("ir_extended", {"context": CONTEXT + " It was often photographed."}, ()),
    ("language", {}, pair("它位于哪座城市？")),
    ("language", {}, pair("In which 城市 does this structure stand?")),
    ("question_form", {}, pair("City of this structure")),
    ("question_form", {}, pair("Is this structure tall? And who is it that built this structure?")),
    (
        "question_form",
        {},
        pair("In which city does this " + "very " * 50 + "tall structure stand?"),
    ),
    ("question_form", {}, pair("In which city does this structure stand? Answer: here")),
    ("question_image", {}, pair("What is the capital of France?")),
    ("question_image", {}, pair("Which city hosts many visitors?")),
    ("entity_named", {}, pair("In which city does this Eiffel Tower stand?")),
    ("answer_form", {}, pair("Which colours has it had?", "yellow and brown")),
    ("answer_form", {}, pair("Which colours has it had?", "red, yellow and brown")),
    ("answer_form", {}, pair("What is it?", CONTEXT.split(" It", maxsplit=1)[0])),
    ("answer_form", {}, pair("When was it completed?", "completed in 1889 and")),
    ("answer_in_question", {}, pair("Does this structure stand in Paris?")),
    (
        "answer_is_subject",
        {},
        pair("What was built for a world fair, as this shows?", "Eiffel Tower"),
    ),
    ("cap", {}, pair("In which city does this structure stand?", "Lyon")),
    ("cap", {}, pair("Is this structure tall?", "Yes")),
    ("cap_partial", {}, pair("Which colours has it had?", "red, green")),
    ("duplicate_question", {}, (*pair(), *pair("in which city does this structure stand"))),
]


@pytest.mark.parametrize(
    ("gate", "article", "qas"), DEFECTS, ids=[f"{gate}-{n}" for n, (gate, *_) in enumerate(DEFECTS)]
)
def test_a_planted_defect_is_found_by_its_gate_and_no_other(
    gate: str, article: dict[str, str], qas: tuple[QA, ...]
) -> None:
    assert found(judged()) == set()

    verdict = judged(*qas, **article)  # type: ignore[arg-type]

    assert found(verdict) == {gate}


def test_the_common_name_of_what_the_article_is_about_is_found_in_a_question() -> None:
    context = (
        "The giraffe is a large African hoofed mammal. It is the tallest living animal on land, "
        "and lives in savannahs, where it eats the leaves of trees."
    )
    qas = pair("Where does this giraffe live?", "savannahs")

    assert found(judged(*qas, context=context, title="Giraffe")) == {"object_named"}


def test_pointing_at_the_image_with_a_word_of_the_paper_is_found_by_both() -> None:
    verdict = judged(context=CONTEXT + " The photo shows it at night.")

    assert found(verdict) == {"image_reference", "ir"}


def test_every_gate_has_a_planted_defect() -> None:
    assert {gate for gate, *_ in DEFECTS} | {"object_named"} == set(NAMES)
    assert tuple(gate.name for gate in GATES) == NAMES


def test_every_gate_of_articles_has_a_reason_to_reject_with() -> None:
    for gate in GATES:
        if gate.of_article:
            assert Reason(code_of(gate.name))


TRINIDAD = (
    "Port of Spain is the capital of Trinidad and Tobago. It was a Spanish port for a long time, "
    "has 1,000 trees, and lies on the Gulf of Paria. Many work in oil and gas. A mile is 1.6 km². "
    "The “Queen’s Park” is in the north, the Caroni in the south. Its domain is .tt, its currency the "
    "dollar. It was founded in 1757—the capital moved there from San José de Oruña in 1757."
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Of which country is this city the capital?", "Trinidad and Tobago"),
        ("Which river flows to the south of it?", "The Caroni"),
        ("What is the internet domain of this country?", ".tt"),
        ("How many trees does it have?", "1,000"),
        ("What lies to its north?", '"Queen\'s Park"'),
        ("When was it founded?", "1757."),
        ("Which was the capital before it?", "san jose\u0301 de Oruña"),
        ("How long is a mile in this country?", "1.6 km2"),
        ("What are its trees, parks, rivers?", "1000 trees, Queen’s Park, Caroni"),
        ("Which money do they use?", "dollars"),
    ],
)
def test_what_is_good_passes_however_it_is_written(question: str, answer: str) -> None:
    verdict = judged(*pair(question, answer), context=TRINIDAD, title="Port of Spain")

    assert found(verdict) - {"cap", "cap_partial"} == set()
    if answer not in {"1000 trees, Queen’s Park, Caroni", "dollars"}:
        assert found(verdict) == set()


@pytest.mark.parametrize(
    ("question", "answer", "gates"),
    [
        # "000" stands inside a number, "port" inside a name's other word is a word of its own.
        ("How many trees does it have?", "000", {"cap"}),
        ("Which animal is it?", "ark", {"cap"}),
        ("What do many of its people work in?", "oil and gas", {"answer_form"}),
        (
            "What is its capital of?",
            "Trinidad and Tobago, and Venezuela",
            {"answer_form", "cap_partial"},
        ),
    ],
)
def test_what_only_looks_good_does_not_pass(question: str, answer: str, gates: set[str]) -> None:
    verdict = judged(*pair(question, answer), context=TRINIDAD, title="Port of Spain")

    assert found(verdict) == gates


@pytest.mark.parametrize(
    ("title", "context", "qas"),
    [
        (
            "Laos",
            (
                "Laos is a country in Southeast Asia. Its people are called Lao, and its public language "
                "is Lao, too. Its capital is Vientiane, and its currency is the kip."
            ),
            pair("Which language is spoken in the country this flag belongs to?", "Lao"),
        ),
        (
            "埃菲尔铁塔",
            "埃菲尔铁塔是位于法国巴黎战神广场的铁制镂空塔。它建成于1889年，高330米。",
            pair("它位于哪座城市？", "巴黎"),
        ),
        (
            "Torre Eiffel",
            (
                "La Torre Eiffel es una torre de hierro de París. Fue construida por la empresa de Gustave "
                "Eiffel para una exposición de 1889, y mide 330 metros."
            ),
            pair("¿En qué ciudad está?", "París"),
        ),
        (
            "I'm Sorry I Haven't a Clue",
            (
                "I'm Sorry I Haven't a Clue is a radio comedy of the BBC. It began in 1972, and its chair "
                "was for a long time the jazz trumpeter Humphrey Lyttelton."
            ),
            pair("When did this programme begin?", "1972"),
        ),
    ],
    ids=["laos", "chinese", "spanish", "sorry"],
)
def test_good_articles_of_many_kinds_pass(title: str, context: str, qas: tuple[QA, ...]) -> None:
    assert found(judged(*qas, context=context, title=title)) == set()


def test_spans_say_where_each_answer_stands_in_the_context_as_it_is_written() -> None:
    verdict = judged(
        *pair("When was it founded?", "1757"),
        *pair("What lies to its north, and to its south?", "queen's park, Mars, the Caroni"),
        *pair("How long is a mile…?", "1.6 KM²"),
        context="…ﬁne! " + TRINIDAD,
        title="Port of Spain",
    )

    written = [
        [span and ("…ﬁne! " + TRINIDAD)[span[0] : span[1]] for span in spans]
        for spans in verdict.spans
    ]
    assert written == [["1757"], ["Queen’s Park", None, "Caroni"], ["1.6 km²"]]


texts = st.text(st.sampled_from("aA1 .,;:?!\n*[]<>`|#'\"“éßﬁ…和图の\ufffdÃ©\u0301"), max_size=200)
anything = st.one_of(texts, st.text(max_size=200))


@settings(max_examples=300)
@given(anything, anything, anything, st.lists(st.tuples(anything, anything), max_size=4))
def test_no_text_makes_a_gate_fail_and_the_evidence_is_in_it(
    title: str, context: str, tail: str, pairs: list[tuple[str, str]]
) -> None:
    qas = tuple(QA(question=question, answer=answer) for question, answer in pairs)

    verdict = judged(*qas, context=context + tail, title=title)

    for spans in verdict.spans:
        for span in spans:
            assert span is None or 0 <= span[0] < span[1] <= len(context + tail)
    assert verdict.is_accepted is (len(verdict.qas) >= 1)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "ab ",
        "sorry i ",
        "in the image ",
        "a, b; ",
        "[x](",
        "<a ",
        "and ",
        "ß´é́",
        "和图",
        ". ",
        "? a b ",
    ],
)
def test_the_time_grows_with_the_length_of_any_text_and_not_faster(piece: str) -> None:
    long = piece * (300_000 // len(piece))

    # In time that is quadratic, this would take hours.
    assert judged(*pair(long, long), *pair("What is this?", "zz"), context=long, title=long)


def test_many_pairs_take_time_in_proportion_too() -> None:
    qas = tuple(QA(question=f"What is this, {n}?", answer="ab, cd, ef") for n in range(2_000))

    assert judged(*qas, context="abc " * 100_000)
