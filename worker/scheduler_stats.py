"""How vLLM's scheduler is listened to. Loads vLLM when called."""

from typing import Any

from worker.capacity import Capacity


def listening_engine(config: Any, capacity: Capacity) -> Any:
    """Start the `AsyncLLM` of a vLLM configuration; it tells *capacity* of each step."""
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415 - takes seconds
    from vllm.v1.metrics.loggers import StatLoggerBase  # noqa: PLC0415

    class Listener(StatLoggerBase):  # type: ignore[misc] # vLLM is not there for mypy
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Need nothing of them."""

        def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                capacity.note_step(scheduler_stats.num_running_reqs)

        def log_engine_initialized(self) -> None:
            """Say nothing: the worker does."""

    class ListeningLLM(AsyncLLM):  # type: ignore[misc]
        def _run_output_handler(self) -> None:
            # The scheduler has been told by now to send what it knows. Without this the front end
            # would count each token besides, which costs more than all else here, for nobody.
            self.log_stats = False
            super()._run_output_handler()

    return ListeningLLM.from_vllm_config(config, stat_loggers=[Listener], disable_log_stats=True)
