"""
The gates by name, and what each does with a text that fails it.

What each looks for is the refiner's; docs/quality.md says what it can and cannot see.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

#: Begins the code under which a gate's findings stand, and the reasons of the gates.
GATE = "gate."


class Action(StrEnum):
    """What happens to what fails a gate."""

    #: The gate is not asked.
    OFF = "off"
    #: Noted in `meta.checks`, and kept.
    FLAG = "flag"
    #: The pair is left out; or, where the article fails, the record is rejected.
    DROP = "drop"


#: Every gate with its action by default, in the order in which they decide. A gate that sees its
#: defect for certain drops; one that cannot tell it from good writing flags.
_DEFAULT = {
    # Of the whole record
    "truncated": Action.FLAG,
    "refusal": Action.DROP,
    "repetition": Action.DROP,
    "mojibake": Action.DROP,
    "markup": Action.FLAG,
    "article_length": Action.FLAG,
    "image_reference": Action.DROP,
    "ir": Action.FLAG,
    "ir_extended": Action.OFF,
    # Of each pair; `mojibake` and `markup` look at pairs too
    "language": Action.FLAG,
    "question_form": Action.DROP,
    "question_image": Action.FLAG,
    "entity_named": Action.DROP,
    "object_named": Action.FLAG,
    "answer_form": Action.DROP,
    "answer_in_question": Action.DROP,
    "answer_is_subject": Action.DROP,
    "cap": Action.FLAG,
    "cap_partial": Action.FLAG,
    "duplicate_question": Action.DROP,
}
_OFF = dict.fromkeys(_DEFAULT, Action.OFF)

NAMES = tuple(_DEFAULT)
#: The fields of a Quality that are numbers.
BOUNDS = ("min_pairs", "enough_pairs", "max_attempts", "min_words", "max_words")
#: `sk-vqa-ir` and `sk-vqa-ir-cap` are the filters of SK-VQA (arXiv 2406.19593), and nothing else.
PRESETS: Mapping[str, Mapping[str, Action]] = MappingProxyType(
    {
        "default": _DEFAULT,
        "off": _OFF,
        "sk-vqa-ir": _OFF | {"ir": Action.DROP},
        "sk-vqa-ir-cap": _OFF | {"ir": Action.DROP, "cap": Action.DROP},
    }
)


def code_of(gate: str) -> str:
    """Return the code under which a gate's findings stand, as in `gate.cap`."""
    return f"{GATE}{gate}"


def read_actions(preset: str, changes: Iterable[str]) -> dict[str, Action]:
    """
    Return the action of every gate.

    Args:
        preset: One of PRESETS.
        changes: `NAME=ACTION`; of two for one gate the later one counts.

    Raises:
        ValueError: Not one of these words. The message says what was found and expected.

    """
    if preset not in PRESETS:
        raise ValueError(f"--gates {preset!r} is no preset; there are {', '.join(PRESETS)}.")
    actions = dict(PRESETS[preset])
    for change in changes:
        name, _, action = change.partition("=")
        if name not in actions:
            raise ValueError(f"--gate {change!r} names no gate; there are {', '.join(NAMES)}.")
        if action not in set(Action):
            raise ValueError(
                f"--gate {change!r} is no NAME=ACTION with one of {', '.join(Action)}, "
                f"as in {name}=drop."
            )
        actions[name] = Action(action)
    return actions


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What the texts of a run must be like; the same for all of its records."""

    #: Of every gate, in full: later defaults do not change a run that was begun.
    actions: dict[str, Action] = field(default_factory=lambda: dict(_DEFAULT))
    #: Fewest pairs that an accepted record keeps.
    min_pairs: int = 1
    #: Pairs below which a record is generated again while an attempt is left.
    enough_pairs: int = 1
    #: Most generations of a record.
    max_attempts: int = 2
    #: Bounds of `article_length`, in words; each Chinese or Japanese character counts as one.
    min_words: int = 20
    max_words: int = 2_000

    def action(self, gate: str) -> Action:
        """Return what the gate does; one that the run was begun without, its default."""
        return self.actions.get(gate, _DEFAULT[gate])

    def describe(self) -> dict[str, Any]:
        """Return all of it by the names of its options."""
        gates = {f"gate {name}": self.action(name).value for name in NAMES}
        return gates | self.bounds()

    def bounds(self) -> dict[str, int]:
        """Return its numbers."""
        return {name: getattr(self, name) for name in BOUNDS}
