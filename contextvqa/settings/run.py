"""What belongs to a run: how its texts are written, and what they must pass."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import click

from contextvqa.gates import PRESETS, Quality, read_actions
from contextvqa.options import setting
from contextvqa.settings.checks import refuse_below_one, refuse_negative

#: What the model sees first in the user's turn.
PromptOrder = Literal["image-first", "text-first"]
#: What the model writes.
OutputMode = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the model writes: the same for all records of a run."""

    system_prompt: str = setting("You are a helpful assistant.", "System prompt of every request.")
    temperature: float = setting(0.7, "Sampling temperature; 0 is greedy.")
    top_p: float = setting(0.9, "Nucleus sampling: share of probability kept, 0 to 1.")
    top_k: int = setting(40, "Tokens considered at each step; 0 for all.")
    repetition_penalty: float = setting(1.0, "Penalty on tokens already seen; 1 is none.")
    max_tokens: int = setting(512, "Most tokens the model may write for one record.")
    max_tokens_after_cut: int | None = setting(
        None,
        "--max-tokens of the attempt after one that it cut off. Default: the same again.",
        kind=int,
    )
    temperature_after_loop: float | None = setting(
        None,
        "--temperature of the attempt after one that went round in circles. Default: the same.",
        kind=float,
    )
    prompt_order: PromptOrder = setting(
        "image-first",
        "What the user's turn begins with. text-first lets vLLM prefill the prompt once for all "
        "records; most models are trained image-first, so compare their texts first.",
        kind=click.Choice(get_args(PromptOrder)),
    )
    output_mode: OutputMode = setting(
        "text",
        "What the model writes: text as the prompt asks for it, or json, an object of article and "
        "pairs that vLLM forces. Compare their yields first; see docs/quality.md.",
        kind=click.Choice(get_args(OutputMode)),
    )

    def __post_init__(self) -> None:
        refuse_negative(self, "temperature", "top_k", "repetition_penalty")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"--top-p is {self.top_p}; it must be above 0 and at most 1.")
        if self.repetition_penalty == 0:
            raise ValueError("--repetition-penalty is 0.0; it must be above 0.")
        for name in ("max_tokens", "max_tokens_after_cut"):
            refuse_below_one(self, name)
        if self.temperature_after_loop is not None:
            refuse_negative(self, "temperature_after_loop")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """What texts must pass: the same for all records of a run."""

    gates: str = setting(
        "default", f"Gates that texts must pass: {', '.join(PRESETS)}. See docs/quality.md."
    )
    gate: tuple[str, ...] = setting(
        (),
        "What one gate does, NAME=ACTION: off, flag (note it only) or drop; repeatable.",
        multiple=True,
    )
    min_pairs: int = setting(1, "Fewest question/answer pairs of an accepted record.")
    enough_pairs: int = setting(
        1,
        "Pairs below which a record is generated again while an attempt is left; the attempt with "
        "most pairs counts in the end.",
    )
    max_attempts: int = setting(
        2, "Most generations of a record whose texts are not good enough; 1 is one try."
    )
    min_words: int = setting(20, "Fewest words of an article, for the gate article_length.")
    max_words: int = setting(2_000, "Most words of an article, for the gate article_length.")

    def __post_init__(self) -> None:
        read_actions(self.gates, self.gate)
        for name in ("min_pairs", "enough_pairs", "max_attempts", "min_words"):
            refuse_below_one(self, name)
        if self.max_words < self.min_words:
            raise ValueError(
                f"--max-words is {self.max_words}; it must be at least --min-words, "
                f"which is {self.min_words}."
            )

    def quality(self) -> Quality:
        """Return it as a run stores it."""
        return Quality(
            actions=read_actions(self.gates, self.gate),
            min_pairs=self.min_pairs,
            enough_pairs=self.enough_pairs,
            max_attempts=self.max_attempts,
            min_words=self.min_words,
            max_words=self.max_words,
        )

    @classmethod
    def over(cls, quality: Quality, given: Mapping[str, Any]) -> Quality:
        """
        Return what a run asks of its texts with these settings in place of its own.

        Args:
            given: By name; `gate` changes the actions of the run, or of the preset if one is given.

        Raises:
            ValueError: As of the settings themselves.

        """
        asked = cls(**{**quality.bounds(), **given}).quality()
        if "gates" in given:
            return asked
        named = [change.partition("=")[0] for change in given.get("gate", ())]
        changed = {name: asked.action(name) for name in named}
        return replace(asked, actions=quality.actions | changed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejects:
    """How many rejects a complete run may have."""

    max_rejects: str = setting(
        "50%", "Rejects, as a number or a share of all records, above which the exit code is 4."
    )

    def __post_init__(self) -> None:
        number = self.max_rejects.removesuffix("%")
        if not number.isdecimal():
            raise ValueError(
                f"--max-rejects is {self.max_rejects!r}; it must be a number such as 10, "
                "or a share such as 5%."
            )

    def is_exceeded(self, rejected: int, ended: int) -> bool:
        """Whether this many rejects of all records are too many."""
        number = int(self.max_rejects.removesuffix("%"))
        if self.max_rejects.endswith("%"):
            return rejected * 100 > number * ended
        return rejected > number
