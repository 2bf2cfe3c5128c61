"""Every setting, grouped by what it is about. `contextvqa.options` reads them."""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import click

from contextvqa.errors import UsageError
from contextvqa.gates import PRESETS, Quality, read_actions
from contextvqa.options import setting
from contextvqa.passwords import read_password
from contextvqa.redis_url import DEFAULT_REDIS_URL, with_password

MAX_PORT = 65_535

#: What the model sees first in the user's turn.
PromptOrder = Literal["image-first", "text-first"]
#: What the model writes.
OutputMode = Literal["text", "json"]
#: What log lines are written as.
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Where runs live."""

    runs_dir: Path = setting(
        Path("runs"), "Directory of the run directories.", kind=click.Path(path_type=Path)
    )


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where queues live."""

    redis_url: str | None = setting(
        None,
        "Redis server, redis://, rediss:// or unix://. "
        f"Default: {DEFAULT_REDIS_URL}; for a run with an embedded server, and in `run`, that one.",
    )
    redis_password_file: Path | None = setting(
        None,
        "File whose one line is the password of --redis-url, which then stands neither on a "
        "command line nor in the environment.",
        kind=click.Path(path_type=Path),
    )

    def __post_init__(self) -> None:
        if self.redis_password_file is not None and self.redis_url is None:
            raise ValueError("--redis-password-file needs the --redis-url that it is for.")

    @property
    def server_url(self) -> str | None:
        """
        The URL to connect to, with the password: for no command line and no message.

        Raises:
            UsageError: The password file holds no password, or the URL has one besides.

        """
        if self.redis_url is None or self.redis_password_file is None:
            return self.redis_url
        password = read_password(self.redis_password_file, "--redis-password-file")
        return with_password(self.redis_url, password)


@dataclass(frozen=True, kw_only=True)
class Store(Server, Disk):
    """Where runs and queues live. None of the three has slots: Python joins no two that do."""


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
        _refuse_negative(self, "temperature", "top_k", "repetition_penalty")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"--top-p is {self.top_p}; it must be above 0 and at most 1.")
        if self.repetition_penalty == 0:
            raise ValueError("--repetition-penalty is 0.0; it must be above 0.")
        for name in ("max_tokens", "max_tokens_after_cut"):
            _refuse_below_one(self, name)
        if self.temperature_after_loop is not None:
            _refuse_negative(self, "temperature_after_loop")


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
            _refuse_below_one(self, name)
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
            _refuse_below_one(self, name)
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
        _refuse_below_one(self, "decoders")


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """How far the producer runs ahead of the workers."""

    high_water: int = setting(
        10_000, "Queued records at which the producer holds back, until half of them are gone."
    )

    def __post_init__(self) -> None:
        _refuse_below_one(self, "high_water")


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """What keeps a worker from going on as if nothing had happened."""

    refine_high_water: int = setting(
        10_000, "Queued generations at which workers stop claiming, until half of them are refined."
    )
    stall_timeout_s: float = setting(
        120.0, "Seconds without a token, while requests run, after which the engine is restarted."
    )
    max_memory_gb: float | None = setting(
        None,
        "Memory of a worker's processes, in GB, above which it drains and starts anew.",
        kind=float,
    )

    def __post_init__(self) -> None:
        _refuse_below_one(self, "refine_high_water")
        for name in ("stall_timeout_s", "max_memory_gb"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                option = name.replace("_", "-")
                raise ValueError(f"--{option} is {value}; it must be a number above 0.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """How a worker or refiner process behaves."""

    drain_timeout_s: float = setting(
        30.0, "After SIGTERM, seconds that executions in flight may still take."
    )
    result_ttl_s: int = setting(300, "Seconds that a finished job stays visible in Redis.")
    max_retries: int = setting(3, "Further tries of a record after a transient failure.")
    retry_wait_s: float = setting(
        2.0, "Seconds before the first further try, give or take half; each next wait is double."
    )
    max_crashes: int = setting(3, "Crashes a record may be in flight at before it is rejected.")
    breaker_share: float = setting(
        0.5, "Share of a run's last executions failing alike above which it is paused; 1 is never."
    )
    breaker_window: int = setting(100, "Executions of a run that this share is taken of.")

    def __post_init__(self) -> None:
        _refuse_negative(self, "drain_timeout_s", "max_retries", "retry_wait_s", "max_crashes")
        if self.result_ttl_s < 1:
            raise ValueError(
                f"--result-ttl-s is {self.result_ttl_s}; it must be at least 1 second."
            )
        _refuse_below_one(self, "breaker_window")
        if not 0 < self.breaker_share <= 1:
            raise ValueError(
                f"--breaker-share is {self.breaker_share}; it must be above 0 and at most 1."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """When a worker or refiner process ends by itself."""

    burst: bool = setting(False, "Stop when the queue is empty.")
    until_stdin_closes: bool = setting(
        False, "Stop, as on SIGTERM, when standard input closes: for a supervising process."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Logs:
    """How a command says what happens."""

    log_format: LogFormat = setting(
        "text",
        "Lines on stderr: text for people, or json, an object a line, whoever prints it.",
        kind=click.Choice(get_args(LogFormat)),
    )

    @property
    def is_json(self) -> bool:
        """Whether each line is a JSON object."""
        return self.log_format == "json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Where a process shows its metrics to Prometheus."""

    metrics_host: str = setting(
        "127.0.0.1", "Address at which metrics are served: no password protects them."
    )
    metrics_port: int | None = setting(
        None,
        "Port at which metrics are served, 0 for any free one. Of several worker processes, the "
        "port of the first. Default: daemons serve none, `contextvqa metrics` at 9400.",
        kind=int,
    )

    def __post_init__(self) -> None:
        if self.metrics_port is not None and not 0 <= self.metrics_port <= MAX_PORT:
            raise ValueError(f"--metrics-port is {self.metrics_port}; it must be 0 to {MAX_PORT}.")

    def after(self, number: int) -> "Metrics":
        """
        Return the same so many ports further on; where any port will do, or none, the same.

        Raises:
            UsageError: There is no such port.

        """
        if not self.metrics_port:
            return self
        port = self.metrics_port + number
        if port > MAX_PORT:
            raise UsageError(
                f"--metrics-port is {self.metrics_port}, and {port} is needed as well."
            )
        return replace(self, metrics_port=port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cores:
    """How much of a machine a command takes."""

    jobs: int | None = setting(
        None, "Processes that work at once. Default: the cores this one may use.", kind=int
    )

    def __post_init__(self) -> None:
        _refuse_below_one(self, "jobs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Where the dashboard listens, and whom it lets in."""

    host: str = setting(
        "127.0.0.1", "Address to listen on. Any but this machine's own needs --password-file."
    )
    port: int = setting(9181, "Port to listen on; 0 is any free one.")
    password_file: Path | None = setting(
        None,
        "File whose one line is the password that browsers ask for, with any user name.",
        kind=click.Path(path_type=Path),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"--port is {self.port}; it must be 0 to {MAX_PORT}.")
        if self.password_file is None and not self.is_local:
            raise ValueError(
                f"--host {self.host} may be reached from other machines, so it needs a "
                "--password-file; without one listen on 127.0.0.1."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


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


def is_loopback(host: str) -> bool:
    """Whether a host, as an address or by the one name that all machines share, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_negative(group: object, *names: str) -> None:
    for name in names:
        value = getattr(group, name)
        if not (math.isfinite(value) and value >= 0):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is {value}; it must be a number, 0 or more.")


def _refuse_below_one(group: object, name: str) -> None:
    value = getattr(group, name)
    if value is not None and value < 1:
        raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be at least 1.")
