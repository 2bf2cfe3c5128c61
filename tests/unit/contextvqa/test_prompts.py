"""The prompts of a run are kept beside its results."""

from pathlib import Path

import pytest

from contextvqa.errors import UsageError
from contextvqa.records import prompt_digest
from contextvqa.storage.prompts import Prompts

ODD = "Ask *why*?\r\n\ud83d"


def test_a_prompt_is_read_back_character_by_character_by_its_digest(tmp_path: Path) -> None:
    Prompts(tmp_path / "prompts").keep(ODD)

    assert Prompts(tmp_path / "prompts").read(prompt_digest(ODD)) == ODD
    assert Prompts(tmp_path / "prompts").read(prompt_digest("another")) is None


def test_a_prompt_is_written_once_however_many_processes_keep_it(tmp_path: Path) -> None:
    first, second = Prompts(tmp_path / "prompts"), Prompts(tmp_path / "prompts")
    for prompts in (first, second, first):
        prompts.keep(ODD)

    assert [path.name for path in (tmp_path / "prompts").iterdir()] == [f"{prompt_digest(ODD)}.txt"]


def test_a_prompt_that_was_edited_is_not_taken_for_the_one_that_was_asked(tmp_path: Path) -> None:
    Prompts(tmp_path / "prompts").keep(ODD)
    (tmp_path / "prompts" / f"{prompt_digest(ODD)}.txt").write_text("Ask what.")

    assert Prompts(tmp_path / "prompts").read(prompt_digest(ODD)) is None


def test_another_run_gets_all_of_them(tmp_path: Path) -> None:
    old, new = Prompts(tmp_path / "old"), Prompts(tmp_path / "new")
    old.keep("a")
    old.keep("b")

    old.copy_to(new)

    assert [new.read(prompt_digest(prompt)) for prompt in "ab"] == ["a", "b"]


def test_where_it_cannot_be_written_a_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("no directory")

    with pytest.raises(UsageError, match=r"cannot write .*prompts"):
        Prompts(tmp_path / "prompts").keep("a")
