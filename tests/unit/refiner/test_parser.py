"""The parser reads what models write: a corpus of layouts, properties, and hostile input."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contextvqa.errors import Reason
from refiner.parser.parsing import Parsed, ParsedText, Unparsed, parse

RAW_TEXTS = Path(__file__).parents[2] / "data" / "raw_texts"


class RawText(NamedTuple):
    """One text of the corpus with what it must be read as."""

    text: str
    expected: dict[str, object]

    @property
    def finish_reason(self) -> str:
        return str(self.expected["finish_reason"])


def load(path: Path) -> RawText:
    # Bytes: read_text would turn line ends into others.
    text = path.read_bytes().decode()
    return RawText(text, json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))


CORPUS = {path.stem: load(path) for path in sorted(RAW_TEXTS.glob("*.txt"))}
each_raw_text = pytest.mark.parametrize("raw", CORPUS.values(), ids=CORPUS.keys())


def describe(parsed: ParsedText) -> dict[str, object]:
    if isinstance(parsed, Unparsed):
        return {"context": parsed.context, "qas": [], "reason": parsed.reason, "layout": None}
    found = parsed.context_vqa
    qas = [{"question": qa.question, "answer": qa.answer} for qa in found.qas]
    return {"context": found.context, "qas": qas, "reason": None, "layout": parsed.layout}


def pairs_of(text: str, finish_reason: str = "stop") -> list[tuple[str, str]]:
    parsed = parse(text, finish_reason)
    assert isinstance(parsed, Parsed), parsed
    return [(qa.question, qa.answer) for qa in parsed.context_vqa.qas]


def context_of(text: str) -> str:
    parsed = parse(text)
    assert isinstance(parsed, Parsed), parsed
    return parsed.context_vqa.context


@each_raw_text
def test_each_layout_is_read_exactly(raw: RawText) -> None:
    found = describe(parse(raw.text, raw.finish_reason))

    assert found == {key: raw.expected[key] for key in found}


@each_raw_text
@pytest.mark.parametrize("line_end", ["\r\n", "\r"], ids=["crlf", "cr"])
def test_line_ends_of_other_systems_change_nothing(raw: RawText, line_end: str) -> None:
    text = raw.text.replace("\n", line_end)

    assert parse(text, raw.finish_reason) == parse(raw.text, raw.finish_reason)


@each_raw_text
def test_trailing_spaces_and_tabs_change_nothing(raw: RawText) -> None:
    text = raw.text.replace("\n", " \t\n")

    assert parse(text, raw.finish_reason) == parse(raw.text, raw.finish_reason)


@each_raw_text
def test_cut_anywhere_a_text_keeps_a_part_of_its_pairs_and_invents_none(raw: RawText) -> None:
    whole = describe(parse(raw.text, raw.finish_reason))["qas"]
    assert isinstance(whole, list)

    for end in range(0, len(raw.text), 7):
        found = describe(parse(raw.text[:end], "length"))["qas"]
        assert isinstance(found, list)
        assert found == whole[: len(found)], raw.text[:end]


def test_the_corpus_holds_texts_and_their_expected_results_in_twos() -> None:
    texts = {path.stem for path in RAW_TEXTS.glob("*.txt")}
    results = {path.stem for path in RAW_TEXTS.glob("*.json")}

    assert texts == results
    assert texts


@pytest.mark.parametrize(
    "heading",
    [
        "Question Answer Pairs",
        "### Question Answer Pairs:",
        "# Question-Answer Pairs",
        "**Question–Answer Pairs:**",
        "__Question/Answer Pairs__",
        "###### Questions & Answers",
        "Q&A",
        "**Q & A:**",
        "QA",
        "QAs:",
        "--- Questions ---",
        "== Questions and Answers ==",
        "## Part 2: Question Answer Pairs",
        "### Questions and Answers (Q&A)",
        "Here are the question-answer pairs:",
        "Question - Answer Pairs",
        "问答对：",
        "Perguntas e respostas",
        "質問と回答",
    ],
)
@pytest.mark.parametrize("pairs", ["Q: What is it?\nA: a fox", "1. What is it?\n\n- a fox"])
def test_headings_of_the_pairs_end_the_article(heading: str, pairs: str) -> None:
    text = f"The fox is an animal.\n\n{heading}\n\n{pairs}"

    assert context_of(text) == "The fox is an animal."
    assert pairs_of(text) == [("What is it?", "a fox")]


@pytest.mark.parametrize(
    "heading",
    [
        "Wikipedia Article",
        "Wikipedia Article:",
        "**Article**",
        "### Wikipedia-style Article:",
        "Article: Red fox",
        "**Wikipedia Article: Red fox**",
        "# Red fox",
        "**Red fox**",
        "**Title:** Red fox",
        "Title: Red fox",
        "Red fox",
        "Context:",
        "## Wikipedia Article\n\n**Red fox**",
        "Here is the article:\n\n# Red fox",
        "Certainly! Below is a Wikipedia article with question-answer pairs.\n\n---",
        "维基百科文章：",
    ],
)
def test_titles_and_headings_do_not_leak_into_the_article(heading: str) -> None:
    text = f"{heading}\n\nThe fox is an animal.\n\nIt is red.\n\nQ: What is it?\nA: a fox"

    assert context_of(text) == "The fox is an animal.\n\nIt is red."


@pytest.mark.parametrize(
    "sentence",
    [
        "Qatar is home to the sand fox.",
        "Questions about its safety are open.",
        "Question marks look like its tail.",
        "A: good view is what it needs.",
        "Answer it, and it runs.",
        "Article 5 protects it.",
        "Of all articles on it, one is true.",
        "Q is its grade.",
        "1.5 million live in cities.",
        "#1 in its forest, it is feared.",
        "Is it shy? A: it depends.",
        "**The fox** is *very* red.",
        "A. vulpes is its other name.",
        "Q. robur is the oak it sleeps below.",
        "Example 1 of its kind lives in Rome.",
        '"It is red," said he.',
    ],
)
def test_article_text_that_looks_like_a_label_stays(sentence: str) -> None:
    text = f"{sentence}\n{sentence}\n\nIt is red.\n\nQuestion: What is it?\nAnswer: a fox"

    plain = sentence.replace("*", "")
    assert context_of(text) == f"{plain} {plain}\n\nIt is red."
    assert pairs_of(text) == [("What is it?", "a fox")]


@pytest.mark.parametrize(
    "written",
    [
        "It has:\n\nFur\n\nThe ears are large.",
        "Fur\n\nEars\n\nTail\n\nThe ears are large.",
        "It has\nFur and more than that\nThe ears are large.",
        "Fur and two ears, of which both\nare large. They hear well.",
        "1. Fur\n2. Ears\n\nThe ears are large.",
        "- Fur\n\n- Ears\n\n- Tail",
        "It has:\n\n- fur",
        "Its old name reads:\n\nReynard the fox, as poets call it.",
        "| Fur | red |\n|---|---|\n| The ears of it | large |",
    ],
)
def test_short_lines_that_head_nothing_stay(written: str) -> None:
    text = f"The fox is an animal.\n\n{written}\n\nQ: What?\nA: a fox"

    words = re.findall(r"\w+", context_of(text))
    assert words == re.findall(r"\w+", f"The fox is an animal. {written}")


@pytest.mark.parametrize(
    "heading",
    [
        "Habitat",
        "2. Habitat",
        "*Where does it live?*",
        "➤ Habitat",
        "## Where?",
        "**Where?**",
        "Habitat:",
        "Where?",
    ],
)
def test_a_line_that_heads_a_section_goes(heading: str) -> None:
    text = f"The fox is red.\n\n{heading}\n\nIt lives in woods.\n\nQ: What?\nA: a fox"

    assert context_of(text) == "The fox is red.\n\nIt lives in woods."


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Pytanie", "Odpowiedź"),
        ("Soru 1", "Cevap 1"),
        ("Pertanyaan", "Jawaban"),
        ("سؤال", "جواب"),
        ("문제 1", "정답"),
        ("Question No. 1", "Answer No. 1"),
        ("Question 1 of 3", "Answer"),
        ("Question [Hard]", "Answer"),
        ("[Hard] Question", "Answer"),
        ("QA Pair 1: Question", "Answer"),
    ],
)
def test_labels_of_other_languages_and_with_remarks_are_labels(question: str, answer: str) -> None:
    text = f"It is a city.\n\n{question}: Which?\n{answer}: Paris"

    assert pairs_of(text) == [("Which?", "Paris")]


def test_letters_with_a_dot_are_labels_where_they_stand_below_one_another() -> None:
    text = "It is by A. Milne.\n\nA. Milne wrote it.\n\nQ. Who wrote it?\n\nA. A. A. Milne"

    assert pairs_of(text) == [("Who wrote it?", "A. A. Milne")]
    assert context_of(text) == "It is by A. Milne.\n\nA. Milne wrote it."


@pytest.mark.parametrize("end", ["", "</"])
def test_a_cut_inside_the_first_answers_closing_tag_leaves_no_tag_in_the_pair(end: str) -> None:
    text = "It is a city.\n<question>Which?</question>\n<answer>\nParis\n" + end

    assert pairs_of(text, "length") == [("Which?", "Paris")]


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
@pytest.mark.parametrize("heading", ["## Where does it live?", "**Where does it live?**"])
def test_a_heading_that_asks_makes_no_pair_of_the_section_below_it(
    heading: str, finish_reason: str
) -> None:
    text = f"# Fox\n\nIt is red.\n\n{heading}\n\nIt lives in woods.\n\n## Food\n\nHens."

    assert isinstance(parse(text, finish_reason), Unparsed)


def test_json_below_chatter_that_is_cut_in_its_first_pair_makes_no_record() -> None:
    text = 'Here you go:\n\n{\n  "context": "It is a city.",\n  "qas": [{"question": "Which?",\n'

    assert describe(parse(text, "length"))["reason"] == Reason.PARSE_TRUNCATED


def test_full_width_brackets_number_questions() -> None:
    text = "它是一座城市。\n\n问答：\n\n（1）它在哪里？\n答案：法国\n\n（2）它有多大？\n答案：很大"

    assert pairs_of(text) == [("它在哪里？", "法国"), ("它有多大？", "很大")]


def test_an_article_below_the_pairs_may_be_cut() -> None:
    text = "## Q&A\n\nQ: Which?\nA: Paris\n\n## Article\n\nIt is a ci"

    parsed = parse(text, "length")
    assert isinstance(parsed, Parsed)
    assert parsed.is_truncated
    assert pairs_of(text, "length") == [("Which?", "Paris")]
    assert context_of(text) == "It is a ci"


def test_the_first_sentence_on_the_headings_own_line_stays() -> None:
    text = "Article: The fox is an animal.\nIt is red.\n\nQ: What?\nA: a fox"

    assert context_of(text) == "The fox is an animal. It is red."


@pytest.mark.parametrize(
    "line", ["## Context", "Context: it hides.", "**Passage**", "Its article says:"]
)
def test_a_heading_further_down_does_not_cost_what_stands_before_it(line: str) -> None:
    text = f"The fox is an animal.\n{line}\nIt is red.\n\nQ: What?\nA: a fox"

    context = context_of(text)
    assert context.startswith("The fox is an animal.")
    assert context.endswith("It is red.")


def test_chatter_before_the_articles_heading_goes() -> None:
    text = "Sure!\n\nI can do that.\n\n**Article**\n\nThe fox is red.\n\nQ: What?\nA: a fox"

    assert context_of(text) == "The fox is red."


def test_items_of_a_list_in_the_article_stay_apart() -> None:
    text = "A fox has:\n- fur\n- ears\n1. one tail\n\nQ: What?\nA: a fox"

    assert context_of(text) == "A fox has:\n\nfur\n\nears\n\n1. one tail"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("**Paris**", "Paris"),
        ("*Paris*, __Lyon__", "Paris, Lyon"),
        ("_Paris_.", "Paris."),
        ("5 * 3", "5 * 3"),
        ("2*3", "2*3"),
        ("snake_case_name", "snake_case_name"),
        ("-5 °C", "-5 °C"),
        ("A: the letter", "A: the letter"),
        ("Paris (the capital)", "Paris (the capital)"),
        ("3:15 pm", "3:15 pm"),
        ("Vitamin A: milk", "Vitamin A: milk"),
    ],
)
def test_emphasis_goes_and_other_signs_stay(written: str, read: str) -> None:
    text = f"It is a city.\n\nQuestion: What is it?\nAnswer: {written}"

    assert pairs_of(text) == [("What is it?", read)]


def test_choices_below_a_question_belong_to_it() -> None:
    text = "It is a city.\n\nQuestion: Which?\nA) Paris\nB) Rome\nAnswer: Paris"

    assert pairs_of(text) == [("Which? A) Paris B) Rome", "Paris")]


def test_a_question_without_answer_is_dropped_and_others_stay() -> None:
    text = "It is a city.\n\nQ: Which?\nA:\n\nQ: Where?\n\nQ: Who?\nA: me"

    assert pairs_of(text) == [("Who?", "me")]


def test_text_below_an_answer_is_no_part_of_it() -> None:
    text = "It is a city.\n\nQ: Which?\nA: Paris\n\nI hope this helps.\n\nA question more?"

    assert pairs_of(text) == [("Which?", "Paris")]


@pytest.mark.parametrize("end", ["\n", "\n\nQ: Wh", "\n---", "\nNote: done"])
def test_the_last_pair_of_a_cut_text_stays_when_something_follows_it(end: str) -> None:
    text = "It is a city.\n\nQ: Which?\nA: Paris" + end

    assert pairs_of(text, "length") == [("Which?", "Paris")]


def test_a_finished_text_keeps_its_last_pair_without_a_line_end() -> None:
    text = "It is a city.\n\nQ: Which?\nA: Paris"

    assert pairs_of(text) == [("Which?", "Paris")]
    assert describe(parse(text, "length"))["reason"] == Reason.PARSE_TRUNCATED


@pytest.mark.parametrize("wrap", ["[{}]", '{{"result": {}}}', "Result: {} Done.", "```\n{}\n```"])
def test_an_object_is_found_inside_of_other_things(wrap: str) -> None:
    record = '{"context": "It is a city.", "qas": [{"question": "Which?", "answer": "Paris"}]}'

    assert describe(parse(wrap.format(record)))["layout"] == "json"
    assert pairs_of(wrap.format(record)) == [("Which?", "Paris")]


def test_an_object_cut_anywhere_keeps_its_whole_pairs_and_says_that_it_breaks_off() -> None:
    qas = [
        {"question": 'What is {"it"}?', "answer": "a fox"},
        {"question": "Which [colours] has it?", "answer": "red, brown"},
        {"question": "Where does it hide?", "answer": "C:\\woods"},
    ]
    text = json.dumps({"context": 'A "fox" is {red}.\n\nIt hides: [see', "qas": qas})
    ends = [text.index(json.dumps(pair)) + len(json.dumps(pair)) for pair in qas]

    for end in range(1, len(text)):
        parsed = parse(text[:end], "length")
        found = describe(parsed)["qas"]
        assert found == qas[: sum(whole <= end for whole in ends)], text[:end]
        assert parsed.is_truncated, text[:end]
    assert not parse(text, "length").is_truncated


@pytest.mark.parametrize("answer", ["null", "[]", '""', '[" ", "**"]', '{"x": 1}'])
def test_an_object_without_an_answer_makes_no_pair(answer: str) -> None:
    pair = '{"question": "Which?", "answer": ' + answer + "}"
    text = '{"context": "It is a city.", "qas": [' + pair + "]}"

    assert describe(parse(text))["reason"] == Reason.PARSE_NO_PAIRS


def test_every_failure_says_why_on_one_line() -> None:
    failures = [
        parsed
        for raw in CORPUS.values()
        if isinstance(parsed := parse(raw.text, raw.finish_reason), Unparsed)
    ]

    assert {failure.reason for failure in failures} == {
        Reason.PARSE_EMPTY,
        Reason.PARSE_NO_CONTEXT,
        Reason.PARSE_NO_PAIRS,
        Reason.PARSE_REFUSAL,
        Reason.PARSE_TRUNCATED,
    }
    assert all(failure.message and "\n" not in failure.message for failure in failures)


FRAGMENTS = st.sampled_from(
    [
        *("\n", "\n\n", " ", "\t", "\u00a0", "\r\n", "---", "```json", "<think>", "</think>"),
        *("Question:", "Answer:", "Q:", "A:", "Q1.", "A1.", "1. ", "- ", "(2) ", "## ", "**", "*"),
        *("问题：", "答：", "Q&A", "Question Answer Pairs:", "Wikipedia Article", "Answers", "__"),
        *(
            '{"context": "',
            '"qas": [',
            '{"question": "',
            '", "answer": "',
            '"}',
            "]",
            "}",
            "[",
            "{",
        ),
        *("The fox is red.", "Paris", "What is it?", "1889", "|", "\ufeff", "\u200b", "_", "\\"),
    ]
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=8), max_size=40).map("".join)
FINISH_REASONS = st.sampled_from(["stop", "length", "", "abort"])


def letters(text: str) -> str:
    """Return a text without what the parser may take out of the middle of a word."""
    return re.sub(r"[*_\s\ufeff\u200b\u2060]+", "", text)


@given(TEXTS, FINISH_REASONS)
@example("\ud800Q: \udfff\nA: \ud800", "stop")
@example('{"context": "\\ud800.", "qas": [{"question": "\\udfff", "answer": 1e999}]}', "stop")
@settings(max_examples=400)
def test_any_text_gives_a_whole_record_or_a_reason(text: str, finish_reason: str) -> None:
    parsed = parse(text, finish_reason)

    if isinstance(parsed, Unparsed):
        assert parsed.reason.startswith("parse.")
        return
    assert parsed.context_vqa.context.strip()
    assert parsed.context_vqa.qas
    for qa in parsed.context_vqa.qas:
        assert qa.question.strip()
        assert qa.answer.strip()


@given(TEXTS, FINISH_REASONS)
@settings(max_examples=400)
def test_every_word_of_a_record_stands_in_the_text(text: str, finish_reason: str) -> None:
    parsed = parse(text, finish_reason)

    if isinstance(parsed, Parsed) and "\\" not in text:
        source = letters(text)
        for qa in parsed.context_vqa.qas:
            parts = [qa.question, *qa.answer.split(", ")]
            words = " ".join([*parts, parsed.context_vqa.context]).split()
            assert [word for word in words if letters(word) not in source] == []


@given(TEXTS.filter(lambda text: "\r" not in text), FINISH_REASONS)
@settings(max_examples=300)
def test_any_text_reads_the_same_with_crlf(text: str, finish_reason: str) -> None:
    assert parse(text.replace("\n", "\r\n"), finish_reason) == parse(text, finish_reason)


SENTENCES = st.from_regex(r"[A-Z][a-z]{2,8}( [a-z]{2,8}){3,8}\.", fullmatch=True)
QUESTIONS = st.from_regex(r"(What|Where|Who) [a-z]{2,8}( [a-z]{2,8}){0,5}\?", fullmatch=True)
ANSWERS = st.from_regex(r"[a-z]{2,8}( [a-z]{2,8}){0,2}(, [a-z]{2,8}){0,2}", fullmatch=True)
PAIRS = st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=5)
MARKS = st.sampled_from(["", "- ", "{n}. ", "({n}) ", "### ", "* ", "**{n}.** "])
LABELS = st.sampled_from(
    [
        ("Question: ", "Answer: "),
        ("**Question:** ", "**Answer:** "),
        ("Q: ", "A: "),
        ("Q{n}. ", "A{n}. "),
        ("Question {n}: ", "Answer {n}: "),
        ("*QUESTION {n}* : ", "*ANSWER* : "),
        ("问题{n}：", "答案："),
    ]
)
SEPARATORS = st.sampled_from(["\n", "\n   ", "\n\n", "\n - ", " "])


@given(SENTENCES, PAIRS, MARKS, LABELS, SEPARATORS, st.sampled_from(["\n", "\n\n", "\n---\n"]))
@settings(max_examples=300)
def test_any_mix_of_marks_and_labels_is_read_back(
    sentence: str,
    pairs: list[tuple[str, str]],
    mark: str,
    label: tuple[str, str],
    separator: str,
    gap: str,
) -> None:
    question_label, answer_label = label
    written = gap.join(
        (mark + question_label).format(n=number)
        + question
        + separator
        + answer_label.format(n=number)
        + answer
        for number, (question, answer) in enumerate(pairs, 1)
    )

    assert pairs_of(f"{sentence}\n\n{written}") == pairs


#: Long enough that a quadratic step would run into the time limit.
HOSTILE_CHARS = 200_000
HOSTILE = [
    *(
        "* ",
        "_",
        "_a",
        "__ ",
        "#",
        "# ",
        "?",
        "? ",
        "?(",
        " ",
        "\n",
        "Q:\n",
        "A:\n",
        "Q: a\nA: b\n",
    ),
    *("1. Question: a? Answer: b ", "- x?\n", "### Q&A\n", "Article:\n", "x\n", "1. ", "1", "== "),
    *("---\n", "```json\n", "<think>", "</think>", "[", '{"', '{"a":', "[{", '{"" ', '\\"', '"'),
    *("|", "|a", "Question|Answer\n", "a|b\n", "<b>", "<q>", "</q>", "<td>", "</td>\n", "[/a]"),
    *("Answer:\n", "Q: a\nA: b\n\nx\n\n", "1. a\n", "[[", "\n[[", ' {"a": 1}', "\\"),
    *("Q. a?\nA. b\n", "Q. ?", "| a? | b |\n", "|--|\n", "Pair 1: ", "(a) ", "一、", "🔹 a\n\n"),
    *("Fox\n\n", "*Fox?*\n\n", "<|q|>", "<answer>", "&amp;", "A1: b\n", "a? **b**", "Name. "),
    *('{"qas": [', "Question ", "? **", "（", "Q: a\nA:\n- b\n", "Answers\n", "**a**\n", "问"),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_one_piece_over_and_over_is_read_in_time(piece: str) -> None:
    text = piece * (HOSTILE_CHARS // len(piece))

    assert isinstance(parse(text), Unparsed)
    assert isinstance(parse("Q: a\nA: b\n" + text, "length"), Unparsed)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["Q:", "*", "1. Question:", "{", "\n- "])
def test_a_megabyte_of_one_piece_is_read_in_time(piece: str) -> None:
    assert isinstance(parse(piece * (1_000_000 // len(piece))), Unparsed)


def test_deep_nesting_is_no_record_and_no_crash() -> None:
    assert describe(parse("{" * 100_000))["reason"] == Reason.PARSE_NO_PAIRS
    assert describe(parse('{"a":' * 100_000))["reason"] == Reason.PARSE_NO_PAIRS
    assert describe(parse('{"qas": [' * 100_000, "length"))["reason"] == Reason.PARSE_TRUNCATED
