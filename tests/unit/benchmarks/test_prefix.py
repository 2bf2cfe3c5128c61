"""The two orders of the prefix benchmark."""

from benchmarks.feeds.image_first import conversation_of
from benchmarks.feeds.program import read_requests
from tests.support import FLAGS


def test_the_orders_differ_in_the_users_turn_alone() -> None:
    request = read_requests(FLAGS / "sample_data.json")[0]

    image_first = conversation_of(request, is_text_first=False)
    text_first = conversation_of(request, is_text_first=True)

    assert image_first[0] == text_first[0]
    assert [part["type"] for part in image_first[1]["content"]] == ["image_pil", "text"]
    assert [part["type"] for part in text_first[1]["content"]] == ["text", "image_pil"]
