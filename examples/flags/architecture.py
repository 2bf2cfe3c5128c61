"""Build the untrained model and everything that lies beside its weights."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from worker.environment import step_around_broken_extensions

# Before transformers: it imports torchvision as soon as a vision model is asked for.
step_around_broken_extensions()

from transformers import (  # noqa: E402  (see above)
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
)

__all__ = [
    "CHAT_TEMPLATE",
    "Qwen2Tokenizer",
    "Qwen2_5_VLConfig",
    "Qwen2_5_VLForConditionalGeneration",
    "build_config",
    "build_model",
    "image_processor_config",
    "save",
    "train_tokenizer",
]

#: Smallest and largest picture after resizing, in pixels: 4 to 16 image tokens of 28 x 28 pixels.
MIN_PIXELS: Final = 56 * 56
MAX_PIXELS: Final = 112 * 112
#: Size of the whole vocabulary, special tokens included.
VOCAB_SIZE: Final = 1536
#: Longest sequence. RoPE has no parameters, so this costs nothing.
MAX_POSITIONS: Final = 4096

#: In the order of Qwen2.5-VL's tokenizer, with the ones it needs for grounding and tools left out.
SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

#: Qwen2's own split: words with their leading space, single digits, runs of punctuation.
_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Qwen2.5-VL's template without its picture counter, which is off by default there.
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """Train a byte-level BPE as Qwen2's on *texts*; any text can be encoded with it."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    model = json.loads(trained.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        eos_token="<|im_end|>",  # noqa: S106  (a token, no password)
        pad_token="<|endoftext|>",  # noqa: S106
        extra_special_tokens=[token for token in SPECIAL_TOKENS if token != "<|im_end|>"],  # noqa: S105
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_POSITIONS,
    )


def build_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    """Return the 2.9-million-parameter configuration for *tokenizer*'s token ids."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "max_position_embeddings": MAX_POSITIONS,
        "rms_norm_eps": 1e-6,
        # The three sections (time, height, width) add up to half a head of 64.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [8, 12, 12],
        },
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "tie_word_embeddings": True,
    }
    vision: dict[str, Any] = {
        "depth": 3,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": 192,
        "window_size": 224,
        "fullatt_block_indexes": [2],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        architectures=["Qwen2_5_VLForConditionalGeneration"],
    )


def build_model(config: Qwen2_5_VLConfig) -> Qwen2_5_VLForConditionalGeneration:
    """Return a model with random weights in float32."""
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=config.text_config.bos_token_id,
        eos_token_id=[config.text_config.eos_token_id, config.text_config.pad_token_id],
        pad_token_id=config.text_config.pad_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        top_k=40,
    )
    return model


def image_processor_config() -> dict[str, Any]:
    """Return `preprocessor_config.json`, which transformers resolves to its Qwen2-VL processor."""
    return {
        "processor_class": "Qwen2_5_VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }


def save(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: Qwen2Tokenizer, directory: Path
) -> None:
    """Write a directory that transformers and vLLM load; leaves *model* as it is (float32)."""
    directory.mkdir(parents=True, exist_ok=True)
    half = Qwen2_5_VLForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.generation_config = model.generation_config
    half.to(torch.bfloat16)
    # vLLM's `auto` reads the text part's own entry.
    half.config.text_config.dtype = half.config.vision_config.dtype = torch.bfloat16
    half.save_pretrained(directory)
    (directory / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
    tokenizer.save_pretrained(directory)
    settings = image_processor_config()
    # vLLM builds the whole processor, video part included, even where videos are switched off.
    video = {**settings, "video_processor_type": "Qwen2VLVideoProcessor"}
    del video["image_processor_type"]
    for name, content in (("preprocessor_config", settings), ("video_preprocessor_config", video)):
        (directory / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
