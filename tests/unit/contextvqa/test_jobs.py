"""What people read of a job: short and harmless, whatever the input's row holds."""

import pytest

from contextvqa.errors import Reason
from contextvqa.queueing.jobs import generate_job, reject_job
from contextvqa.records import ImageRecord, Rejection


def record(identifier: int | str, *image: str) -> ImageRecord:
    return ImageRecord(
        run="r", key="0" * 32, id=identifier, image=image, prompt_digest="0123456789abcdef"
    )


@pytest.mark.parametrize(
    ("identifier", "image", "description"),
    [
        ("000123", "/home/me/secret/fr.png", "generate r 000123 fr.png"),
        (7, "fr.png", "generate r 7 fr.png"),
        (7, "a/b/", "generate r 7 b"),
        ("two\nlines", "tab\t\x1b[31m\ud800.png", "generate r two?lines tab??[31m?.png"),
        ("x" * 99, "y" * 99 + ".png", f"generate r …{'x' * 39} …{'y' * 35}.png"),
    ],
)
def test_a_description_is_one_short_line_without_the_images_directory(
    identifier: int | str, image: str, description: str
) -> None:
    assert generate_job(record(identifier, image, "second.png")).description == description


def test_a_rejection_names_its_record() -> None:
    rejection = Rejection(
        record=record(7, "a.png"), stage="generate", reason=Reason.CRASHED, message="crashed"
    )

    assert reject_job(rejection).description == "reject r 7 a.png"
