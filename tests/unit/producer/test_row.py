"""What one row of the input means, good or bad."""

from typing import Any

import pytest

from producer.prompt import DEFAULT_PROMPT
from producer.row import Row, RowError, parse_row


def row(**fields: Any) -> Row:
    return Row(**{"number": 1, "id": None, "prompt": DEFAULT_PROMPT, **fields})


def parse(value: object) -> Row:
    return parse_row(1, value)


def human(value: object) -> dict[str, object]:
    return {"from": "human", "value": value}


def refusal(value: object) -> str:
    with pytest.raises(RowError) as caught:
        parse(value)
    return str(caught.value)


# --- Good rows -----------------------------------------------------------------------------------


def test_the_seeds_own_input_works_unchanged() -> None:
    value = {"image": ["./images/fr.png"], "conversation": [human("<image>\nWrite an article.")]}

    assert parse(value) == row(image=("./images/fr.png",), prompt="Write an article.")


def test_a_bare_path_is_a_list_of_one() -> None:
    assert parse({"image": "a.png"}) == row(image=("a.png",))


def test_several_images_keep_their_order() -> None:
    assert parse({"image": ["b.png", "a.png"]}) == row(image=("b.png", "a.png"))


def test_other_fields_are_ignored() -> None:
    value = {"image": "a.png", "vqa": [1.5, {"image": None}], "width": 2**62, "ok": True}

    assert parse(value) == row(image=("a.png",))


@pytest.mark.parametrize("conversation", [None, []])
def test_a_row_without_a_conversation_has_the_default_prompt(conversation: object) -> None:
    value = {"image": "a.png", "conversation": conversation}

    assert parse(value) == row(image=("a.png",))


@pytest.mark.parametrize("value", ["", "  \n", "<image>", "<image>\n<image>\n"])
def test_a_prompt_that_says_nothing_is_the_default_prompt(value: str) -> None:
    assert parse({"image": "a.png", "conversation": [human(value)]}) == row(image=("a.png",))


def test_the_first_human_turn_is_the_prompt() -> None:
    turns = [{"from": "system", "value": 5}, human("First."), {"from": "gpt"}, human("Second.")]

    found = parse({"image": "a.png", "conversation": turns})

    assert found.prompt == "First."


@pytest.mark.parametrize(
    ("value", "prompt"),
    [
        ("<image>\nDescribe.", "Describe."),
        ("Describe.\n<image>", "Describe."),
        ("\n\n<image><image> <image>\r\n\nDescribe.\n\n", "Describe."),
        ("One.\n  <image>\nTwo.", "One.\nTwo."),
        ("One.\n\nTwo.", "One.\n\nTwo."),
        ("Look at <image> and tell.", "Look at and tell."),
        ("See <image>\nTell.", "See \nTell."),
        ("An <IMAGE> and <img> stay.", "An <IMAGE> and <img> stay."),
    ],
)
def test_image_placeholders_leave_the_prompt(value: str, prompt: str) -> None:
    found = parse({"image": "a.png", "conversation": [human(value)]})

    assert found.prompt == prompt


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        (7, 7),
        (0, 0),
        (-1, -1),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        ("fr-1", "fr-1"),
        ("07", "07"),
        (None, None),
        (7.0, 7),
        (-0.0, 0),
    ],
)
def test_an_id_is_kept_and_a_whole_float_is_its_integer(given_id: object, expected: object) -> None:
    found = parse({"image": "a.png", "id": given_id})

    assert (found.id, type(found.id)) == (expected, type(expected))


# --- Bad rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, "`image` is missing"),
        ({"images": "a.png"}, "`image` is missing"),
        ({"image": None}, "`image` is null"),
        ({"image": ""}, "`image` is a string ('')"),
        ({"image": []}, "`image` is an empty list"),
        ({"image": 5}, "`image` is a number (5)"),
        ({"image": {"path": "a.png"}}, "`image` is an object ({'path': 'a.png'})"),
        ({"image": ["a.png", ""]}, "`image` holds a string ('')"),
        ({"image": ["a.png", None]}, "`image` holds null"),
        ({"image": [["a.png"]]}, "`image` holds a list (['a.png'])"),
    ],
)
def test_an_unusable_image_says_what_was_found_and_expected(value: object, found: str) -> None:
    message = refusal(value)

    assert message == f"{found}; expected a path or a list of paths."


@pytest.mark.parametrize(
    ("conversation", "found"),
    [
        ("Describe.", "`conversation` is a string ('Describe.'); expected a list"),
        ({}, "`conversation` is an object ({}); expected a list"),
        (False, "`conversation` is a boolean (False); expected a list"),
        (["Describe."], "a turn is a string ('Describe.'); expected an object"),
        ([{"from": "gpt", "value": "Hi."}], '`conversation` has no turn with `from` "human"'),
        ([{"value": "Describe."}], '`conversation` has no turn with `from` "human"'),
        ([{"from": "human"}], "the human turn's `value` is null; expected a string"),
        ([human(5)], "the human turn's `value` is a number (5); expected a string"),
    ],
)
def test_a_wrong_conversation_is_a_bad_row(conversation: object, found: str) -> None:
    assert found in refusal({"image": "a.png", "conversation": conversation})


@pytest.mark.parametrize("given_id", [True, False, 1.5, 1e300, 2.0**54, [1], {"a": 1}])
def test_what_names_no_record_is_no_id(given_id: object) -> None:
    message = refusal({"image": "a.png", "id": given_id})

    assert message.startswith("`id` is ")
    assert "expected a whole number of 64 bits or a string" in message


@pytest.mark.parametrize("value", [None, 5, "a.png", ["a.png"], True])
def test_a_row_that_is_no_object_is_bad(value: object) -> None:
    message = refusal(value)

    assert message.startswith("the row is ")
    assert message.endswith("expected an object with `image`.")


def test_a_message_stays_short_whatever_the_row_holds() -> None:
    message = refusal({"image": {"x" * 100_000: ["y" * 100_000] * 100}})

    assert len(message) < 300
