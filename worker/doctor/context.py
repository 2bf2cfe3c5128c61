"""The context: how many pixels the prompt and the output leave to images."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from contextvqa.doctor.asked import Asked
from contextvqa.errors import RejectError
from contextvqa.findings import Finding, failure, ok, warning
from worker.conversation import conversation
from worker.doctor.model import directory_of
from worker.pixel_budget import PixelShare, share_of
from worker.vision import token_grid

#: Tokens that a chat template puts around the turns, counted generously: Qwen's are 14.
TEMPLATE_TOKENS = 32
#: Where a model's configuration has what stretches its context, by a factor.
ROPE = ("rope_scaling", "rope_parameters")


def check(asked: Asked) -> Iterator[Finding]:
    """
    Compute what an image may have, as the worker does, but from the model's files alone.

    Raises:
        OSError: They cannot be read.

    """
    directory = directory_of(asked.model.model)
    if directory is None:
        yield ok("context", "not looked at: the model is not on this host")
        return
    most = _longest(_read(directory / "config.json"), _engine_arguments(asked))
    max_model_len = asked.engine.max_model_len
    if most is not None and most < max_model_len:
        expected = f"--max-model-len of at most {most:,}, which the model is made for"
        yield failure("context", f"{max_model_len:,} tokens", expected, "choose a shorter one")
        return
    num_prompt = _count_tokens(directory, asked)
    if num_prompt is None:
        expected = "a tokenizer.json that can be read"
        remedy = "the engine refuses records that do not fit"
        yield warning("context", "the prompt's tokens cannot be counted", expected, remedy)
        return
    num_left = max_model_len - asked.sampling.max_tokens - num_prompt
    found = (
        f"{max_model_len:,} tokens, {asked.sampling.max_tokens:,} for the output and some "
        f"{num_prompt} for the prompt"
    )
    try:
        shares = [_share(directory, asked, num, num_left) for num in (1, asked.engine.max_images)]
    except RejectError as error:
        yield failure("context", found, remedy=str(error).rstrip("."))
        return
    one, many = (f"{share.max_px:,}" for share in shares)
    pixels = f"an image may have {one} pixels, and each of {asked.engine.max_images} {many}"
    yield ok("context", f"{found}: {pixels}")


def _share(directory: Path, asked: Asked, num_images: int, num_left: int) -> PixelShare:
    settings = _read(directory / "preprocessor_config.json")
    processor = SimpleNamespace(
        patch_size=settings.get("patch_size"), merge_size=settings.get("merge_size")
    )
    given = _object(_engine_arguments(asked).get("mm_processor_kwargs", "{}"))
    return share_of(
        num_images=num_images,
        max_record_px=asked.images.max_record_px,
        tokens_left=num_left,
        grid=token_grid(processor, settings | given),
    )


def _count_tokens(directory: Path, asked: Asked) -> int | None:
    """Return about how many tokens the prompt takes; None where that cannot be told."""
    path = directory / "tokenizer.json"
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - comes with vLLM

        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # noqa: BLE001 - it raises bare Exception for a file that it cannot read
        return None
    system, user = conversation([], asked.prompt, asked.sampling)
    texts = [system["content"], *(part["text"] for part in user["content"])]
    return TEMPLATE_TOKENS + sum(len(tokenizer.encode(text).ids) for text in texts)


def _engine_arguments(asked: Asked) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in asked.engine.engine)


def _longest(config: dict[str, Any], engine_arguments: Mapping[str, str]) -> int | None:
    """Return the longest context of a model; None where its files do not tell vLLM's last word."""
    if "hf_overrides" in engine_arguments:
        return None
    text_config = config.get("text_config")
    both = [text_config if isinstance(text_config, dict) else {}, config]
    ropes = [settings.get(name) for settings in both for name in ROPE]
    if any(isinstance(rope, dict) and "factor" in rope for rope in ropes):
        return None
    lengths = [settings.get("max_position_embeddings") for settings in both]
    return next((length for length in lengths if isinstance(length, int)), None)


def _read(path: Path) -> dict[str, Any]:
    return _object(path.read_bytes()) if path.exists() else {}


def _object(data: str | bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}
