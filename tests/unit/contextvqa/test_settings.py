"""Settings: flag over environment over default, wrong values refused by name."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from contextvqa.options import as_environment, as_flags, changes, environment_name, takes
from contextvqa.settings import Daemon, Engine, Gates, Images, Lifetime, Rejects, Sampling, Store


@pytest.fixture
def run() -> Callable[..., Result]:
    @click.command()
    @takes(Store, Sampling, Engine, Images, Lifetime)
    def command(
        store: Store, sampling: Sampling, engine: Engine, images: Images, lifetime: Lifetime
    ) -> None:
        assert images
        click.echo(f"{store.runs_dir} {sampling.temperature} {engine.engine} {lifetime.burst}")

    return lambda *arguments, **environment: CliRunner().invoke(
        command, list(arguments), env=environment
    )


def test_a_flag_beats_the_environment_which_beats_the_default(
    run: Callable[..., Result],
) -> None:
    assert run().output == "runs 0.7 () False\n"
    assert run(CONTEXTVQA_TEMPERATURE="0.2").output == "runs 0.2 () False\n"
    result = run("--temperature", "0", "--runs-dir", "/r", "--burst", CONTEXTVQA_TEMPERATURE="0.2")
    assert result.output == "/r 0.0 () True\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-p", "1.5"], "--top-p is 1.5; it must be above 0 and at most 1."),
        (["--temperature", "-1"], "--temperature is -1.0; it must be a number, 0 or more."),
        (["--repetition-penalty", "nan"], "--repetition-penalty is nan; it must be a number"),
        (["--max-tokens", "many"], "'many' is not a valid integer"),
        (["--output-mode", "xml"], "'xml' is not one of 'text', 'json'"),
        (["--engine", "max_num_seqs"], "--engine 'max_num_seqs' is no KEY=VALUE"),
        (["--max-model-len", "0"], "--max-model-len is 0; it must be at least 1."),
        (["--decoders", "0"], "--decoders is 0; it must be at least 1."),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_was_expected(
    run: Callable[..., Result], arguments: list[str], message: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_flags_made_of_a_group_give_another_command_the_same_group(
    run: Callable[..., Result],
) -> None:
    flags = [*as_flags(Sampling(temperature=0.1)), *as_flags(Lifetime(burst=True))]
    flags += as_flags(Engine(engine=("a=1", 'b={"c": 2}')))

    output = run(*flags).output

    assert output == "runs 0.1 ('a=1', 'b={\"c\": 2}') True\n"


def test_every_setting_has_a_variable_of_its_name() -> None:
    assert environment_name("runs_dir") == "CONTEXTVQA_RUNS_DIR"


@pytest.mark.parametrize(
    ("limit", "rejected", "is_exceeded"),
    [("50%", 5, False), ("50%", 6, True), ("0", 0, False), ("0", 1, True), ("3", 3, False)],
)
def test_max_rejects_is_a_number_or_a_share_of_all_records(
    limit: str, rejected: int, *, is_exceeded: bool
) -> None:
    assert Rejects(max_rejects=limit).is_exceeded(rejected, 10) is is_exceeded


def test_max_rejects_refuses_what_is_neither() -> None:
    with pytest.raises(ValueError, match="it must be a number such as 10"):
        Rejects(max_rejects="some")


def test_a_daemon_refuses_negative_times() -> None:
    with pytest.raises(ValueError, match="--drain-timeout-s is -1"):
        Daemon(drain_timeout_s=-1)


def test_gates_are_a_preset_and_what_is_changed_of_it() -> None:
    quality = Gates(
        gates="sk-vqa-ir", gate=("cap=flag", "ir=off", "ir=flag"), min_pairs=2
    ).quality()

    asked = {name: action for name, action in quality.actions.items() if action != "off"}
    assert asked == {"cap": "flag", "ir": "flag"}
    assert quality.min_pairs == 2


def test_gates_change_those_of_a_run_where_they_are_given_alone() -> None:
    quality = Gates(gates="sk-vqa-ir", gate=("cap=flag",), min_pairs=2, max_words=90).quality()

    assert Gates.over(quality, {}) == quality
    changed = Gates.over(quality, {"gate": ("cap=drop",), "max_words": 80})
    assert changed.actions == quality.actions | {"cap": "drop"}
    assert (changed.min_pairs, changed.max_words) == (2, 80)
    anew = Gates.over(quality, {"gates": "off", "gate": ("cap=drop",)})
    assert {name for name, action in anew.actions.items() if action != "off"} == {"cap"}
    assert anew.min_pairs == 2
    with pytest.raises(ValueError, match="--max-words is 90; it must be at least --min-words"):
        Gates.over(quality, {"min_words": 91})


def test_of_options_that_change_something_only_those_that_are_given_arrive() -> None:
    @click.command()
    @changes(Gates)
    def command(given: dict[str, object]) -> None:
        click.echo(given)

    run = CliRunner().invoke

    assert run(command).output == "{}\n"
    assert run(command, ["--min-pairs", "1"]).output == "{'min_pairs': 1}\n"
    given = run(command, ["--gate", "cap=off"], env={"CONTEXTVQA_MAX_WORDS": "9"})
    assert given.output == "{'gate': ('cap=off',), 'max_words': 9}\n"
    assert run(command, ["--min-pairs", "x"]).exit_code == 2


def test_gates_made_into_flags_give_another_command_the_same_gates() -> None:
    flags = as_flags(Gates(gates="off", gate=("cap=flag", "ir=drop"), min_pairs=3))

    assert flags[:6] == ["--gates", "off", "--gate", "cap=flag", "--gate", "ir=drop"]
    assert flags[6:8] == ["--min-pairs", "3"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gates": "strict"}, "--gates 'strict' is no preset; there are default, off, sk-vqa-ir"),
        (
            {"gate": ("capp=drop",)},
            "--gate 'capp=drop' names no gate; there are truncated, refusal",
        ),
        ({"gate": ("cap",)}, "--gate 'cap' is no NAME=ACTION with one of off, flag, drop"),
        ({"gate": ("cap=on",)}, "--gate 'cap=on' is no NAME=ACTION .*, as in cap=drop."),
        ({"min_pairs": 0}, "--min-pairs is 0; it must be at least 1."),
        ({"min_words": 50, "max_words": 40}, "--max-words is 40; it must be at least --min-words"),
    ],
)
def test_wrong_gates_are_refused_with_what_was_expected(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Gates(**values)  # type: ignore[arg-type]


def test_a_group_that_is_handed_on_by_environment_arrives_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(
        runs_dir=Path("/data/my runs"),
        redis_url="redis://me@queue:6379/1",
        redis_password_file=Path("/run/secrets/pw"),
    )
    for name, value in as_environment(store).items():
        monkeypatch.setenv(name, value)
    received: list[Store] = []
    click.command()(takes(Store)(lambda *, store: received.append(store))).main(
        [], standalone_mode=False
    )

    assert received == [store]
