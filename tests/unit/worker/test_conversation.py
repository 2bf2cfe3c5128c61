"""The two orders of the user's turn."""

from contextvqa.settings import Sampling
from worker.conversation import conversation

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
