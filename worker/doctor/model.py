"""The model: whether its files are on this host, whole, and where they would come from."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from contextvqa.doctor.asked import Asked
from contextvqa.doctor.disk import GB, nearest, room
from contextvqa.findings import Finding, failure, ok, warning
from worker.doctor.engine import is_installed

#: Free bytes of the cache below which a model may not fit: one of 3 billion parameters has 7.5 GB.
MODEL_BYTES = 10 * GB
#: What each kind of file may be called. The second ones are Mistral's.
CONFIGS = ("config.json", "params.json")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "tiktoken.model")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
#: Which files the weights are in, where they are in several.
INDEX = "model.safetensors.index.json"


def check(asked: Asked) -> Iterator[Finding]:
    """
    Look for the model as vLLM would: a directory, else in the hub's cache.

    Raises:
        OSError: Its directory cannot be read.

    """
    name = asked.model.model
    directory = directory_of(name)
    if directory is not None:
        yield from _files(name, directory)
    elif Path(name).is_file() or "://" in name:
        yield ok("model", f"not looked into: {name} is no directory")
    elif name.startswith(("/", ".", "~")) or name.count("/") != 1:
        remedy = "name a directory that is here, or a model on the hub: ORGANISATION/NAME"
        yield failure("model", f"there is no directory {name}", "one", remedy)
    elif not is_installed():
        yield ok("model", f"{name} is fetched by the hosts that have an engine")
    else:
        yield from _download(name, "is not on this host")


def directory_of(name: str) -> Path | None:
    """Return where a model's files are on this host; None where they are not."""
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - comes with vLLM
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None


def _files(name: str, directory: Path) -> Iterator[Finding]:
    missing = list(_missing(directory))
    if not missing:
        yield ok("model", f"config, tokenizer and weights are in {directory}")
    elif Path(name).is_dir():
        expected = "config, tokenizer and weights"
        remedy = "copy or download the model again"
        yield failure("model", f"{directory} has no {', no '.join(missing)}", expected, remedy)
    else:
        # A worker may be fetching them, or was ended before it had.
        yield from _download(name, f"has no {', no '.join(missing)} in {directory}")


def _missing(directory: Path) -> Iterator[str]:
    """Yield what a model needs and this one lacks. A link of the cache may lead nowhere."""
    if not any((directory / name).exists() for name in CONFIGS):
        yield "config.json"
    if not any((directory / name).exists() for name in TOKENIZERS):
        yield "tokenizer"
    index = directory / INDEX
    if index.exists():
        try:
            names = sorted(set(orjson.loads(index.read_bytes())["weight_map"].values()))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            yield f"readable {INDEX}"
            return
        yield from (name for name in names if not (directory / name).exists())
    elif not any(path.exists() for pattern in WEIGHTS for path in directory.glob(pattern)):
        yield "weights (*.safetensors)"


def _download(name: str, found: str) -> Iterator[Finding]:
    from huggingface_hub import constants  # noqa: PLC0415

    cache = Path(constants.HF_HUB_CACHE)
    if constants.is_offline_mode():
        remedy = "copy the model there, name a directory, or unset HF_HUB_OFFLINE"
        yield failure("model", f"{name} {found}, and the hub is switched off", "it", remedy)
        return
    yield warning(
        "model",
        f"{name} {found}: the start of a worker downloads it to {cache}",
        "it to be there, where hosts reach no hub or starts are to be quick",
        f"hf download {name}",
    )
    yield room("model cache", nearest(cache), low_bytes=MODEL_BYTES)
