"""The one vLLM engine of a worker process."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from contextvqa import settings
from contextvqa.errors import (
    Reason,
    RejectError,
    TransientError,
    UnavailableError,
    UsageError,
)
from contextvqa.settings import Sampling
from worker import environment
from worker.capacity import Capacity
from worker.conversation import conversation
from worker.engine_errors import EngineDiedError, gist, our_errors
from worker.output_schema import structured_outputs
from worker.pixel_budget import PixelShare, TokenGrid, share_of
from worker.scheduler_stats import listening_engine
from worker.vision import grid_of_engine
from worker.watch import TokenWatch

if TYPE_CHECKING:
    from PIL.Image import Image


#: Prompts whose length in tokens is remembered: most runs have one.
MAX_PROMPTS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What the model wrote for one request."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int


class Engine:
    """
    Starts vLLM once and serves requests concurrently.

    vLLM is imported by `start`, not by this module: it takes seconds and gigabytes.
    """

    def __init__(self, model: str, options: settings.Engine, *, stall_timeout_s: float) -> None:
        self.model = model
        self.options = options
        self._stall_timeout_s = stall_timeout_s
        self._llm: Any = None
        self._capacity = Capacity()
        self._watch = TokenWatch()
        self._grid: TokenGrid | None = None
        #: Length of what is asked without images, in tokens, by all that it is made of.
        self._prompt_tokens: dict[tuple[str, str, str], int] = {}
        #: Requests that vLLM has, and for how many seconds none of them has got a token.
        self.num_running = 0
        self.stalled_s = 0.0
        #: Tokens of the requests that it has ended.
        self._num_ended_tokens = 0

    @property
    def max_num_seqs(self) -> int:
        """Its slots: sequences that it may run at once."""
        return int(self._llm.vllm_config.scheduler_config.max_num_seqs)

    @property
    def num_at_once(self) -> int:
        """Sequences that it does run at once: where its KV cache holds no more, fewer."""
        if self._llm is None:
            return 0
        # None for a model without a KV cache.
        num_full_length = self._llm.vllm_config.cache_config.kv_cache_max_concurrency
        num_slots = self.max_num_seqs
        num_sure = num_slots if num_full_length is None else int(num_full_length)
        return self._capacity.at_once(num_sure=num_sure, num_slots=num_slots)

    def start(self) -> None:
        """
        Load the model. Takes seconds to minutes, on the calling thread.

        Raises:
            UnavailableError: vLLM is not installed or cannot serve the model, or the model takes
                no images.
            UsageError: `--engine` names an argument that vLLM does not have.

        """
        arguments = self.arguments()
        from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - takes seconds

        try:
            config = AsyncEngineArgs(**arguments).create_engine_config()
            if config.model_config.is_multimodal_model:
                self._llm = listening_engine(config, self._capacity)
        except Exception as error:
            # vLLM, transformers and pydantic raise whatever a wrong model provokes in them.
            raise UnavailableError(
                f"vLLM cannot serve model {self.model!r}: {gist(error)}"
            ) from error
        if self._llm is None:
            raise UnavailableError(
                f"model {self.model!r} is no vision-language model: it takes no images."
            )
        self._grid = grid_of_engine(self._llm)

    def arguments(self) -> dict[str, Any]:
        """
        Prepare this process for vLLM, and return all arguments that its engine gets.

        Raises:
            UnavailableError: vLLM is not installed.
            UsageError: `--engine` names an argument that vLLM does not have.

        """
        arguments = environment.prepare(self.model) | {
            "model": self.model,
            "max_model_len": self.options.max_model_len,
            "tensor_parallel_size": self.options.tensor_parallel_size,
            "gpu_memory_utilization": self.options.gpu_memory_utilization,
            "limit_mm_per_prompt": {"image": self.options.max_images, "video": 0},
        }
        from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - takes seconds

        known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
        for pair in self.options.engine:
            name, _, value = pair.partition("=")
            name = name.replace("-", "_")
            if name not in known:
                raise UsageError(f"--engine {pair!r}: vLLM has no engine argument {name!r}.")
            arguments[name] = _value(value)
        return arguments

    async def share_of_image(
        self, prompt: str, sampling: Sampling, num_images: int, *, max_record_px: int
    ) -> PixelShare:
        """
        Return what each image of a record may take, so that the record fits into the context.

        Raises:
            RejectError: Prompt and output leave no room for the images.

        """
        num_tokens = await self._count_tokens(prompt, sampling)
        return share_of(
            num_images=num_images,
            max_record_px=max_record_px,
            tokens_left=self._llm.model_config.max_model_len - sampling.max_tokens - num_tokens,
            grid=self._grid,
        )

    async def generate(
        self,
        *,
        images: "list[Image]",
        prompt: str,
        sampling: Sampling,
        seed: int,
        request_id: str,
    ) -> Written:
        """
        Write one text about some images.

        The images are taken out of their list as soon as the engine needs them no more.
        Cancelling the call aborts the request in the engine.

        Raises:
            RejectError: The engine refuses this request and would again.
            TransientError: This request failed; the engine goes on.
            EngineDiedError: The engine is gone.

        """
        with our_errors(self.model):
            rendered = await self._render(images, prompt, sampling)
            # vLLM has made its own of them, and the caller waits for a long generation.
            images.clear()
            output = await self._final_output(
                rendered, sampling_parameters(sampling, seed), request_id
            )
        completion = output.outputs[0]
        if completion.finish_reason not in ("stop", "length"):
            raise TransientError(f"the engine ended a request as {completion.finish_reason!r}")
        return Written(
            text=completion.text,
            finish_reason=completion.finish_reason,
            prompt_tokens=len(output.prompt_token_ids or ()),
            output_tokens=len(completion.token_ids),
        )

    def check(self) -> None:
        """
        Look whether the engine still works. Costs its steps nothing.

        vLLM's own health check passes on an engine that hangs, so tokens are what is looked at.
        Requests that wait for room while others run are no stall, nor are images being rendered.

        Raises:
            EngineDiedError: Its process is gone, or no request has got a token for too long.

        """
        if self._llm is None:
            return
        if self._llm.errored:
            raise EngineDiedError(f"the engine of model {self.model!r} died")
        states = self._llm.output_processor.request_states.values()
        num_tokens = sum(state.detokenizer.num_output_tokens() for state in states)
        self.stalled_s = self._watch.stalled_s(
            num_running=self.num_running, num_tokens=num_tokens + self._num_ended_tokens
        )
        if self.stalled_s > self._stall_timeout_s:
            raise EngineDiedError(
                f"the engine of model {self.model!r} hangs: no token for {self.stalled_s:.0f} s "
                f"with {self.num_running} requests running"
            )

    def stop(self) -> None:
        """End the engine's processes. Safe to call when it never started."""
        if self._llm is not None:
            self._llm.shutdown()
            # Collected now: at interpreter exit its finalizer would find its module half gone.
            self._llm = None

    async def _count_tokens(self, prompt: str, sampling: Sampling) -> int:
        key = sampling.system_prompt, prompt, sampling.output_mode
        if key not in self._prompt_tokens:
            self._refuse_endless(prompt)
            with our_errors(self.model):
                rendered = await self._render([], prompt, sampling)
            if len(self._prompt_tokens) >= MAX_PROMPTS:
                self._prompt_tokens.clear()
            # An encoder-decoder model's prompt is not in the context of what it writes.
            self._prompt_tokens[key] = len(rendered.get("prompt_token_ids", ()))
        return self._prompt_tokens[key]

    def _refuse_endless(self, prompt: str) -> None:
        """
        Refuse a prompt that no token is long enough for.

        Tokenizing takes seconds per million characters and holds Python's lock: a worker that is
        held up by a prompt of a whole row would be taken for dead, and all it has with it.
        """
        per_token = getattr(self._llm.tokenizer, "max_chars_per_token", None)
        if per_token is None:
            return  # a tokenizer that vLLM knows as little of
        most = self._llm.model_config.max_model_len * per_token
        if len(prompt) > most:
            raise RejectError(
                Reason.REQUEST_REFUSED,
                f"the prompt has {len(prompt):,} characters; the context holds {most:,} at most, "
                "whatever they are.",
            )

    async def _render(self, images: "list[Image]", prompt: str, sampling: Sampling) -> Any:
        """Apply the model's own chat template and image processor."""
        from vllm.renderers import ChatParams  # noqa: PLC0415 - loaded by start()

        parts = [{"type": "image_pil", "image_pil": image} for image in images]
        messages = conversation(parts, prompt, sampling)
        # Without a generation prompt the assistant's header is missing, and nothing parses.
        parameters = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
        _, (rendered,) = await self._llm.renderer.render_chat_async([messages], parameters)
        return rendered

    async def _final_output(self, rendered: Any, parameters: Any, request_id: str) -> Any:
        output = None
        self.num_running += 1
        try:
            async for output in self._llm.generate(rendered, parameters, request_id):  # noqa: B007
                pass
        finally:
            self.num_running -= 1
        if output is None:
            raise TransientError("the engine ended a request without output")
        self._num_ended_tokens += len(output.outputs[0].token_ids)
        return output


def sampling_parameters(sampling: Sampling, seed: int) -> Any:
    """Return what vLLM needs to write one text, and to return it whole at its end."""
    from vllm import SamplingParams  # noqa: PLC0415 - loaded by start()
    from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        seed=seed,
        structured_outputs=structured_outputs(sampling),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
