"""Which image processors say how pixels become tokens, and what they say."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import FLAGS, ROOT
from worker.pixel_budget import TokenGrid
from worker.vision import grid_of_engine, token_grid


def qwen(**fields: Any) -> SimpleNamespace:
    size = SimpleNamespace(shortest_edge=3136, longest_edge=12_845_056)
    return SimpleNamespace(**{"patch_size": 14, "merge_size": 2, "size": size} | fields)


def test_qwens_processor_says_side_and_bounds() -> None:
    grid = TokenGrid(side_px=28, min_image_px=3136, max_image_px=12_845_056)

    assert token_grid(qwen(), None) == grid


@pytest.mark.parametrize(
    "overrides",
    [
        {"max_pixels": 1_003_520},
        {"size": {"longest_edge": 1_003_520}},
        {"images_kwargs": {"max_pixels": 1_003_520}},
    ],
    ids=str,
)
def test_what_the_engine_is_told_goes_before_the_processor(overrides: dict[str, Any]) -> None:
    grid = token_grid(qwen(), overrides)

    assert grid == TokenGrid(side_px=28, min_image_px=3136, max_image_px=1_003_520)


@pytest.mark.parametrize(
    "processor",
    [
        None,
        SimpleNamespace(size={"height": 336, "width": 336}, crop_size=336),
        qwen(size=SimpleNamespace(shortest_edge=None, longest_edge=1536)),
        qwen(merge_size=None),
    ],
    ids=["none", "fixed size", "longest side", "no merging"],
)
def test_processors_of_another_kind_say_nothing(processor: Any) -> None:
    assert token_grid(processor, {}) is None


def test_a_model_whose_processor_cannot_be_had_is_served_all_the_same() -> None:
    assert grid_of_engine(SimpleNamespace()) is None


@pytest.mark.vllm
def test_the_processor_of_transformers_has_what_is_read_of_it() -> None:
    # In a process of its own, because a broken torchvision is stepped around for good.
    script = (
        "from worker import environment; environment.step_around_broken_extensions();"
        "from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor;"
        "from worker.vision import token_grid;"
        f"print(token_grid(Qwen2VLImageProcessor.from_pretrained({str(FLAGS / 'model')!r}), {{}}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    expected = TokenGrid(side_px=28, min_image_px=3136, max_image_px=12_544)
    assert done.stdout.strip() == str(expected), done.stderr
