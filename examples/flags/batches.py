"""Turn flags and texts into the tensors a training step wants."""

import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from examples.flags.architecture import Qwen2Tokenizer, image_processor_config
from examples.flags.articles import write_example
from examples.flags.countries import COUNTRIES
from examples.flags.drawing import draw_flag, drawing_rng
from producer.prompt import DEFAULT_PROMPT

from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (  # isort: skip
    Qwen2VLImageProcessorPil,
)

#: Lengths are rounded up to this: every new shape costs the CPU's kernels a compilation.
_LENGTH_STEP: Final = 32
#: Label of a token without loss, as torch's cross entropy has it.
IGNORE: Final = -100
_SETTINGS: Final = image_processor_config()
_PATCH_PX: Final = 14


@dataclass(frozen=True, slots=True)
class Picture:
    """One preprocessed flag: *patches* is (rows * columns, 588) bytes, *label* its country."""

    label: int
    patches: NDArray[np.uint8]
    rows: int
    columns: int

    @property
    def num_tokens(self) -> int:
        """Image tokens after merging 2 x 2 patches."""
        return self.rows * self.columns // 4


@dataclass(frozen=True, slots=True)
class Example:
    """One picture with its conversation; the loss counts from token *num_prompt_tokens* on."""

    picture: Picture
    token_ids: list[int]
    num_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """
    What a phase of the language model is shown.

    Attributes:
        batch_size: Examples in a step.
        json_share: Part of the examples that ask for JSON.
        first_tokens: Use the prompt's first sentence only and cut the target after that many
            tokens: short sequences that teach which flag is which country.
    """

    batch_size: int
    json_share: float = 0.12
    first_tokens: int | None = None


def draw_pictures(purpose: str, per_country: int, num_processes: int = 2) -> list[Picture]:
    """Draw and preprocess *per_country* flags of every country, in parallel."""
    tasks = [(purpose, label, per_country) for label in range(len(COUNTRIES))]
    with ProcessPoolExecutor(num_processes) as pool:
        return [picture for part in pool.map(_draw_country, tasks) for picture in part]


def _draw_country(task: tuple[str, int, int]) -> list[Picture]:
    purpose, label, count = task
    processor = Qwen2VLImageProcessorPil(**_SETTINGS, do_rescale=False, do_normalize=False)
    pictures = []
    for index in range(count):
        flag = draw_flag(COUNTRIES[label], drawing_rng(purpose, index * len(COUNTRIES) + label))
        encoded = processor(images=flag, return_tensors="np")
        # A still picture fills both time steps of a patch with the same pixels: keep one.
        patches = encoded["pixel_values"].reshape(-1, 3, 2, _PATCH_PX * _PATCH_PX)[:, :, 0]
        _, rows, columns = encoded["image_grid_thw"][0].tolist()
        pixels = patches.reshape(len(patches), -1).astype(np.uint8)
        pictures.append(Picture(label, pixels, rows, columns))
    return pictures


def pixel_tensors(pictures: Sequence[Picture]) -> tuple[Tensor, Tensor]:
    """Return `pixel_values` (all patches, 1176) and `image_grid_thw` (pictures, 3)."""
    pixels = torch.from_numpy(np.concatenate([picture.patches for picture in pictures]))
    pixels = pixels.view(-1, 3, 1, _PATCH_PX * _PATCH_PX).float() / 255
    mean = torch.tensor(_SETTINGS["image_mean"]).view(1, 3, 1, 1)
    std = torch.tensor(_SETTINGS["image_std"]).view(1, 3, 1, 1)
    pixels = ((pixels - mean) / std).expand(-1, -1, 2, -1).reshape(len(pixels), -1)
    grid = torch.tensor([[1, picture.rows, picture.columns] for picture in pictures])
    return pixels, grid


def encode(
    tokenizer: Qwen2Tokenizer, picture: Picture, prompt: str, target: str, *, newline: bool = False
) -> Example:
    """Tokenize one conversation as the chat template writes it, image tokens filled in."""
    head = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {
                "role": "user",
                "content": [
                    {"type": "image"},
                    {"type": "text", "text": ("\n" if newline else "") + prompt},
                ],
            },
        ],
        tokenize=False,
        add_generation_prompt=True,
    ).replace("<|image_pad|>", "<|image_pad|>" * picture.num_tokens)
    prompt_ids = tokenizer.encode(head)
    return Example(picture, prompt_ids + tokenizer.encode(target + "<|im_end|>"), len(prompt_ids))


def collate(examples: Sequence[Example], image_token_id: int) -> dict[str, Tensor]:
    """
    Pad on the right and stack.

    There is no attention mask: padding comes last, so the causal mask hides it from every token
    that counts, and attention without a mask is faster.
    """
    longest = max(len(example.token_ids) for example in examples)
    width = math.ceil(longest / _LENGTH_STEP) * _LENGTH_STEP
    input_ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full_like(input_ids, IGNORE)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.token_ids)
        input_ids[row, : len(ids)] = ids
        labels[row, example.num_prompt_tokens : len(ids)] = ids[example.num_prompt_tokens :]
    pixel_values, image_grid_thw = pixel_tensors([example.picture for example in examples])
    return {
        "input_ids": input_ids,
        "mm_token_type_ids": (input_ids == image_token_id).int(),
        "labels": labels,
        "pixel_values": pixel_values,
        "image_grid_thw": image_grid_thw,
    }


def picture_batches(
    pictures: Sequence[Picture], size: int, rng: random.Random
) -> Iterator[list[Picture]]:
    """Yield batches of random pictures for ever."""
    while True:
        yield rng.sample(pictures, size)


def text_batches(
    pictures: Sequence[Picture], tokenizer: Qwen2Tokenizer, lesson: Lesson, rng: random.Random
) -> Iterator[dict[str, Tensor]]:
    """Yield training batches for ever, each of examples of similar length."""
    image_token_id: Any = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    size = lesson.batch_size
    while True:
        examples = [
            _write(picture, tokenizer, lesson, rng) for picture in rng.sample(pictures, size * 8)
        ]
        examples.sort(key=lambda example: len(example.token_ids))
        groups = [examples[k : k + size] for k in range(0, len(examples), size)]
        rng.shuffle(groups)
        for group in groups:
            yield collate(group, image_token_id)


def _write(
    picture: Picture, tokenizer: Qwen2Tokenizer, lesson: Lesson, rng: random.Random
) -> Example:
    prompt, target = write_example(COUNTRIES[picture.label], rng, lesson.json_share)
    if lesson.first_tokens is not None:
        prompt = DEFAULT_PROMPT.split(". ")[0] + "."
    example = encode(tokenizer, picture, prompt, target, newline=rng.random() < 0.1)
    if lesson.first_tokens is not None:
        del example.token_ids[example.num_prompt_tokens + lesson.first_tokens :]
    return example
