"""A model of the default model's shape, with the tokenizer of examples/flags and no weights."""

import shutil
from pathlib import Path
from typing import Any

import orjson

from benchmarks.flags import MODEL

NUM_TOKENS = 151_936
#: Qwen2.5-VL-3B-Instruct, by its published configuration: what its steps cost.
TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "max_position_embeddings": 128_000,
    "max_window_layers": 70,
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "layer_types": ["full_attention"] * 36,
    "num_key_value_heads": 2,
    "rope_parameters": {
        "mrope_section": [16, 24, 24],
        "rope_theta": 1_000_000.0,
        "rope_type": "default",
    },
    "vocab_size": NUM_TOKENS,
}
VISION = {
    "depth": 32,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "tokens_per_second": 2,
    "window_size": 112,
}
#: Pixels of an image that it keeps: 1,280 tokens, as its model card recommends for a fixed cost.
IMAGE_PX = {"shortest_edge": 256 * 784, "longest_edge": 1280 * 784}


def write(directory: Path) -> Path:
    """Write the model, for vLLM's `load_format=dummy`, and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer_config.json"):
        shutil.copyfile(MODEL / name, directory / name)
    config = _read("config.json")
    config["text_config"] |= TEXT
    config["vision_config"] |= VISION
    _write(directory / "config.json", config)
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        size = {"min_pixels": IMAGE_PX["shortest_edge"], "max_pixels": IMAGE_PX["longest_edge"]}
        _write(directory / name, _read(name) | {"size": IMAGE_PX} | size)
    tokenizer = _read("tokenizer.json")
    vocabulary = tokenizer["model"]["vocab"]
    # A model without weights writes any of its tokens: each must be one of the tokenizer's.
    vocabulary |= {f"t{number} ": number for number in range(len(vocabulary), NUM_TOKENS)}
    _write(directory / "tokenizer.json", tokenizer)
    return directory


def _read(name: str) -> Any:
    return orjson.loads((MODEL / name).read_bytes())


def _write(path: Path, content: Any) -> None:
    path.write_bytes(orjson.dumps(content))
