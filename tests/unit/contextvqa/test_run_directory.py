"""run.json: what a run was begun with, and that it stays so."""

import os
from pathlib import Path

import orjson
import pytest

from contextvqa.errors import UsageError
from contextvqa.gates import Action, Quality
from contextvqa.settings import Gates, Sampling
from contextvqa.storage.run_directory import RunConfig, RunDirectory

STRICT = Gates(gate=("cap=drop",), min_pairs=2).quality()


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path, "r")


def test_a_run_keeps_its_gates(directory: RunDirectory) -> None:
    directory.begin("m", Sampling(), "in.json", STRICT)

    config = directory.read_config()

    assert config is not None
    assert config.quality == STRICT
    assert config.quality.action("cap") is Action.DROP
    assert RunConfig.decode(config.encode()) == config


def test_another_quality_is_refused_and_named(directory: RunDirectory) -> None:
    directory.begin("m", Sampling(), "in.json", STRICT)

    with pytest.raises(UsageError) as caught:
        directory.check("m", Sampling(), Quality())

    assert "was begun with gate cap 'drop', not 'flag', min_pairs 2, not 1;" in str(caught.value)


def test_the_same_gates_in_other_words_are_the_same(directory: RunDirectory) -> None:
    directory.begin("m", Sampling(), "in.json", Gates(gates="sk-vqa-ir-cap").quality())

    asked = Gates(gates="off", gate=("cap=drop", "ir=drop")).quality()

    assert directory.check("m", Sampling(), asked) is not None


def test_a_run_of_before_there_were_gates_has_the_default(directory: RunDirectory) -> None:
    directory.begin("m", Sampling(), "in.json")
    fields = orjson.loads(directory.config_path.read_bytes())
    del fields["quality"]
    directory.config_path.write_bytes(orjson.dumps(fields))

    config = directory.check("m", Sampling())

    assert config is not None
    assert config.quality == Quality()


def test_a_gate_that_came_later_has_its_default(directory: RunDirectory) -> None:
    directory.begin("m", Sampling(), "in.json")
    fields = orjson.loads(directory.config_path.read_bytes())
    del fields["quality"]["actions"]["answer_form"]
    directory.config_path.write_bytes(orjson.dumps(fields))

    config = directory.check("m", Sampling())

    assert config is not None
    assert config.quality.action("answer_form") is Action.DROP


def test_a_run_keeps_its_output_mode_and_another_is_refused_and_named(
    directory: RunDirectory,
) -> None:
    directory.begin("m", Sampling(output_mode="json"), "in.json")

    with pytest.raises(UsageError) as caught:
        directory.check("m", Sampling())

    assert "was begun with output_mode 'json', not 'text';" in str(caught.value)
    assert directory.check("m", Sampling(output_mode="json")) is not None


def test_a_run_of_before_there_were_output_modes_has_text(directory: RunDirectory) -> None:
    directory.begin("m", Sampling(), "in.json")
    fields = orjson.loads(directory.config_path.read_bytes())
    assert fields["sampling"].pop("output_mode") == "text"
    directory.config_path.write_bytes(orjson.dumps(fields))

    config = directory.check("m", Sampling())

    assert config is not None
    assert config.sampling == Sampling()


def test_two_hosts_begin_a_run_at_once_with_the_same_process_id(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given another host's producer, which begins while ours has written and not named its file
    fsync = os.fsync

    def begin_there(descriptor: int) -> None:
        fsync(descriptor)
        monkeypatch.setattr(os, "fsync", fsync)
        RunDirectory(directory.path.parent, "r").begin("m", Sampling(), "there.json")

    monkeypatch.setattr(os, "fsync", begin_there)

    # When ours goes on
    config = directory.begin("m", Sampling(), "here.json")

    # Then the run was begun once, with both inputs
    assert config.inputs == ("there.json", "here.json")
    assert [path.name for path in directory.path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/etc", "a\\b", "a.b", "a b", "a\n", "a\0", "\x1b[2J"),
        *("-a", "_a", "é", "a" * 65),
    ],
)
def test_a_name_that_could_leave_the_runs_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        RunDirectory(tmp_path, name)

    assert list(tmp_path.iterdir()) == []
