"""What the user's turn holds, and in which order."""

from contextvqa.settings import Sampling
from worker.conversation import conversation
from worker.output_schema import JSON_REQUEST

IMAGES = [{"type": "image", "name": "a"}, {"type": "image", "name": "b"}]
TEXT = {"type": "text", "text": "Write."}


def test_images_come_first_unless_the_run_asks_for_the_text_first() -> None:
    system, user = conversation(IMAGES, "Write.", Sampling())

    assert system == {"role": "system", "content": "You are a helpful assistant."}
    assert user == {"role": "user", "content": [*IMAGES, TEXT]}


def test_text_first_puts_all_images_after_it_in_their_own_order() -> None:
    text_first = Sampling(prompt_order="text-first", system_prompt="Be brief.")

    system, user = conversation(IMAGES, "Write.", text_first)

    assert system == {"role": "system", "content": "Be brief."}
    assert user == {"role": "user", "content": [TEXT, *IMAGES]}


def test_a_run_in_json_tells_the_model_the_shape_after_the_prompt() -> None:
    _, user = conversation(IMAGES, "Write.", Sampling(output_mode="json"))

    assert user["content"] == [*IMAGES, {"type": "text", "text": f"Write.\n{JSON_REQUEST}"}]
