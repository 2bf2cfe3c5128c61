"""
How settings are declared once, as dataclass fields, and read: flag over environment over default.

A field made by `setting` becomes the option `--field-name`, the variable `CONTEXTVQA_FIELD_NAME`
and a typed attribute. `@takes(Store, Sampling)` gives a command one instance of each group.
"""

from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields
from typing import Any, TypeVar, cast

import click

ENVIRONMENT_PREFIX = "CONTEXTVQA_"

#: The INPUT argument of commands.
INPUT_FILE = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)

#: The option `--run` of commands that fill a run.
RUN = click.option("--run", required=True, help="Name of the run: a directory in --runs-dir.")

Command = TypeVar("Command", bound=Callable[..., Any])


def setting(default: object, text: str, *, kind: Any = None, multiple: bool = False) -> Any:
    """
    Declare one setting.

    Args:
        default: None for one that is resolved later.
        text: Its help line, with the unit.
        kind: The click parameter type, where the default's own type does not tell.
        multiple: The flag may be repeated; the field is a tuple.

    """
    metadata = {"help": text, "kind": kind, "multiple": multiple}
    return field(default=default, metadata=metadata)


def takes(*groups: type[Any]) -> Callable[[Command], Command]:
    """
    Give a click command the options of these groups.

    The function receives one keyword argument per group, named as the group's class in lower case.

    Raises:
        click.UsageError: A group's own `__post_init__` refused a value (as ValueError).

    """

    def decorate(function: Command) -> Command:
        def call(**values: object) -> object:
            made = {group.__name__.lower(): _make(group, values) for group in groups}
            return function(**made, **values)

        items = [item for group in groups for item in fields(group)]
        return _with_options(function, call, items, has_defaults=True)

    return decorate


def changes(group: type[Any]) -> Callable[[Command], Command]:
    """
    Give a click command the options of a group without their defaults.

    The function receives, as `given`, what was asked for, by name: all else is to stay as it was.
    """

    def decorate(function: Command) -> Command:
        def call(**values: object) -> object:
            own = {item.name: values.pop(item.name) for item in fields(group)}
            given = {name: value for name, value in own.items() if value not in (None, ())}
            return function(given=given, **values)

        return _with_options(function, call, fields(group), has_defaults=False)

    return decorate


def as_flags(*groups: Any) -> list[str]:
    """Return the command line that gives another command the same groups."""
    return [part for group in groups for item in fields(group) for part in _flag(group, item)]


def as_environment(group: Any) -> dict[str, str]:
    """Return the variables that give another command the same group, of which none is repeated."""
    return {
        environment_name(item.name): str(value)
        for item in fields(group)
        if (value := getattr(group, item.name)) is not None
    }


def environment_name(option: str) -> str:
    """Return the environment variable of an option: `runs_dir` -> `CONTEXTVQA_RUNS_DIR`."""
    return ENVIRONMENT_PREFIX + option.upper()


def _flag(group: Any, item: Field[Any]) -> list[str]:
    flag, value = "--" + item.name.replace("_", "-"), getattr(group, item.name)
    if item.metadata["multiple"]:
        return [part for one in value for part in (flag, str(one))]
    if value is None or value is False:
        return []
    return [flag] if value is True else [flag, str(value)]


def _make(group: type[Any], values: dict[str, object]) -> object:
    own = {item.name: values.pop(item.name) for item in fields(group)}
    try:
        return group(**own)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _with_options(
    function: Command, call: Callable[..., Any], items: Sequence[Field[Any]], *, has_defaults: bool
) -> Command:
    """Return *call* as the command that *function* is, with these options added."""
    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for item in reversed(items):
        call = _option(item, has_default=has_defaults)(call)
    return cast("Command", call)


def _option(
    item: Field[Any], *, has_default: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    is_multiple = item.metadata["multiple"]
    kind = item.metadata["kind"]
    if kind is None and isinstance(item.default, str | int | float):
        kind = type(item.default)  # click finds it out from a default alone
    return click.option(
        "--" + item.name.replace("_", "-"),
        item.name,
        envvar=environment_name(item.name),
        show_envvar=True,
        default=item.default if has_default else None,
        show_default=has_default and item.default is not None and not is_multiple,
        is_flag=isinstance(item.default, bool),
        type=kind,
        multiple=is_multiple,
        help=item.metadata["help"],
    )
