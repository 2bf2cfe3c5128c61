"""
Train the flags model from nothing: `python -m examples.flags.train --out DIR`.

Makes everything in DIR: tokenizer, configuration, processor files and weights. Four phases, each
with its own share of the time: the vision tower learns to tell the flags apart, the language model
learns to name the country, then whole outputs, then more of those in JSON. Without the first two,
the third takes far longer; without the last, answers in JSON are often another country's.
"""

import argparse
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from examples.flags.architecture import (
    Qwen2Tokenizer,
    build_config,
    build_model,
    save,
    train_tokenizer,
)
from examples.flags.articles import write_example
from examples.flags.batches import (
    IGNORE,
    Lesson,
    Picture,
    draw_pictures,
    picture_batches,
    pixel_tensors,
    text_batches,
)
from examples.flags.countries import COUNTRIES

#: Parts of the training time: vision tower, first tokens, whole outputs, more of the JSON ones.
_SHARES: Final = (0.0375, 0.10125, 0.61125, 0.25)
#: Name, peak learning rate and material of the phases after the first.
_LESSONS: Final = (
    ("names", 1.5e-3, Lesson(64, first_tokens=24)),
    ("articles", 1.5e-3, Lesson(32)),
    ("json", 7e-4, Lesson(32, json_share=0.4)),
)
#: Part of a phase in which the learning rate rises.
_WARMUP: Final = 0.03
_REPORT_EVERY_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase trains: *loss_of* takes one of *batches* and returns its mean loss."""

    name: str
    budget_s: float
    peak_lr: float
    parameters: list[nn.Parameter]
    batches: Iterator[Any]
    loss_of: Callable[[Any], Tensor]


def run_phase(phase: Phase) -> None:
    """Train with AdamW and a cosine over the time budget; prints a line now and then."""
    optimizer = torch.optim.AdamW(phase.parameters, lr=0.0, betas=(0.9, 0.98), weight_decay=0.02)
    start = time.monotonic()
    reported = start
    for step in itertools.count(1):
        elapsed_s = time.monotonic() - start
        done = elapsed_s / phase.budget_s
        if done >= 1:
            return
        for group in optimizer.param_groups:
            group["lr"] = phase.peak_lr * _schedule(done)
        with torch.autocast("cpu", torch.bfloat16):
            loss = phase.loss_of(next(phase.batches))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(phase.parameters, 1.0)
        optimizer.step()
        if step == 1 or time.monotonic() - reported > _REPORT_EVERY_S:
            reported = time.monotonic()
            left_s = max(phase.budget_s - (reported - start), 0)
            print(
                f"{phase.name}: step {step}, loss {loss.item():.4f}, "
                f"{(reported - start) / step:.2f} s/step, {left_s:.0f} s left",
                flush=True,
            )


def _schedule(done: float) -> float:
    """Warm up, then follow a cosine down to a fiftieth."""
    if done < _WARMUP:
        return max(done / _WARMUP, 0.01)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - _WARMUP) / (1 - _WARMUP)))


def country_loss(model: Any, head: nn.Linear, pictures: list[Picture]) -> Tensor:
    """Cross entropy of the country, read off the mean of a picture's image tokens."""
    pixel_values, grid = pixel_tensors(pictures)
    features = model.model.get_image_features(pixel_values, grid).pooler_output
    means = torch.stack([tokens.float().mean(0) for tokens in features])
    labels = torch.tensor([picture.label for picture in pictures])
    return nn.functional.cross_entropy(head(means).float(), labels)


def text_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Cross entropy of the output's tokens; the vocabulary is projected only where it counts."""
    labels = batch.pop("labels")[:, 1:]
    hidden = model.model(**batch, use_cache=False).last_hidden_state[:, :-1]
    counts = labels != IGNORE
    logits = model.lm_head(hidden[counts])
    return nn.functional.cross_entropy(logits.float(), labels[counts])


def tokenizer_corpus(rng: random.Random) -> Iterator[str]:
    """Yield prompts and outputs in the mix they are trained in."""
    for country in COUNTRIES:
        for _ in range(60):
            yield from write_example(country, rng)


def plan(
    model: Any,
    tokenizer: Qwen2Tokenizer,
    pictures: list[Picture],
    minutes: float,
    rng: random.Random,
) -> list[Phase]:
    """Return the four phases, which share *minutes*."""
    head = nn.Linear(model.config.text_config.hidden_size, len(COUNTRIES))
    vision, *texts = (60 * minutes * share for share in _SHARES)
    tower = [*model.model.visual.parameters(), *head.parameters()]
    flags = picture_batches(pictures, 64, rng)
    phases = [
        Phase("vision", vision, 1e-3, tower, flags, partial(country_loss, model, head)),
    ]
    for (name, peak_lr, lesson), budget_s in zip(_LESSONS, texts, strict=True):
        batches = text_batches(pictures, tokenizer, lesson, rng)
        parameters = list(model.parameters())
        phases.append(
            Phase(name, budget_s, peak_lr, parameters, batches, partial(text_loss, model))
        )
    return phases


def train(out: Path, minutes: float, per_country: int, seed: int) -> None:
    """Re-create the model in *out*; *minutes* are those of the four phases together."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = train_tokenizer(tokenizer_corpus(rng))
    model: Any = build_model(build_config(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    start = time.monotonic()
    pictures = draw_pictures("train", per_country)
    print(f"drew {len(pictures):,} flags in {time.monotonic() - start:.0f} s", flush=True)
    for phase in plan(model, tokenizer, pictures, minutes, rng):
        run_phase(phase)
        save(model, tokenizer, out)
    print(f"saved {out}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the flags model from nothing.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--minutes", type=float, default=36, help="training time (default 36)")
    parser.add_argument(
        "--per-country",
        type=int,
        default=240,
        help="training pictures of each country (default 240, at least 11)",
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.out, args.minutes, args.per_country, args.seed)


if __name__ == "__main__":
    main()
