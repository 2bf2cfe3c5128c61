"""What an engine runs, and what it runs on and with."""

from dataclasses import dataclass
from pathlib import Path

import click

from contextvqa.options import setting
from contextvqa.settings.checks import refuse_below_one


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """Which model writes."""

    model: str = setting(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "Vision-language model: a directory or a hub name that vLLM can serve.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """How vLLM runs the model."""

    max_model_len: int = setting(4096, "Most tokens of prompt, images and output together.")
    tensor_parallel_size: int = setting(1, "GPUs that one worker's engine spans.")
    gpu_memory_utilization: float = setting(0.9, "Share of a GPU's memory the engine takes.")
    max_images: int = setting(4, "Most images in one record.")
    max_in_flight: int | None = setting(
        None,
        "Most records in flight in one worker. Default: what the engine is seen to run at once, and "
        "a quarter or more besides, as the way to the engine takes.",
        kind=int,
    )
    engine: tuple[str, ...] = setting(
        (),
        "Any other vLLM engine argument, KEY=VALUE, the value as JSON or a word; repeatable.",
        multiple=True,
    )

    def __post_init__(self) -> None:
        for name in ("max_model_len", "tensor_parallel_size", "max_images", "max_in_flight"):
            refuse_below_one(self, name)
        for pair in self.engine:
            if not pair.partition("=")[1]:
                raise ValueError(f"--engine {pair!r} is no KEY=VALUE, as in max_num_seqs=64.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """What the worker processes of this host run on, each with an engine of its own."""

    gpus: str | None = setting(
        None,
        "GPUs of this host, as nvidia-smi -L lists them: all, or numbers and UUIDs as in 0,2,5. "
        "Each --tensor-parallel-size of them get a worker process. Default: one, on what vLLM sees.",
    )
    cpus: tuple[str, ...] = setting(
        (),
        "Cores of one worker process, for vLLM's CPU build, as in 0-15; once for each.",
        multiple=True,
    )

    def __post_init__(self) -> None:
        if self.gpus is not None and self.cpus:
            raise ValueError(
                "--gpus and --cpus do not go together; give the one vLLM is built for."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """How images are found and decoded."""

    image_root: Path = setting(
        Path(),
        "Directory that relative image references start from (default: the current one).",
        kind=click.Path(path_type=Path),
    )
    confine_images: bool = setting(
        False,
        "Reject references that lead out of --image-root: other absolute paths, '..', symbolic "
        "links. For inputs and queues that others can write to.",
    )
    max_image_px: int = setting(
        50_000_000, "Images with more pixels are rejected before they are decoded."
    )
    max_record_px: int = setting(
        2_000_000,
        "Most pixels a record carries to the model, all its images together, where the context "
        "would hold more; larger images shrink.",
    )
    decoders: int | None = setting(
        None,
        "Processes that decode images in one worker. Default: its share of the cores but one, "
        "1 to 8.",
        kind=int,
    )

    def __post_init__(self) -> None:
        for name in ("max_image_px", "max_record_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1 pixel.")
        refuse_below_one(self, "decoders")
