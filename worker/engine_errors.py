"""What vLLM raises, as what it means for the record or the worker."""

from collections.abc import Iterator
from contextlib import contextmanager

from contextvqa.errors import CrashError, Reason, RejectError, TransientError, one_line

#: Characters kept of each error's text; vLLM's may quote its whole configuration.
MAX_ERROR_CHARS = 300


class EngineDiedError(CrashError):
    """Raised when the engine is gone or hangs: the whole worker process must go."""


@contextmanager
def our_errors(model: str) -> Iterator[None]:
    """
    Turn what vLLM raises inside into our errors. vLLM must have been loaded.

    Raises:
        RejectError: The engine refuses this request and would again.
        TransientError: This request failed; the engine goes on.
        EngineDiedError: The engine of *model* is gone.

    """
    from vllm.exceptions import VLLMClientError  # noqa: PLC0415 - takes seconds
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError  # noqa: PLC0415

    try:
        yield
    except EngineDeadError as error:
        raise EngineDiedError(f"the engine of model {model!r} died: {error}") from error
    except EngineGenerateError as error:
        if isinstance(error.__cause__, VLLMClientError | ValueError):
            raise RejectError(Reason.REQUEST_REFUSED, gist(error.__cause__)) from error
        raise TransientError(gist(error.__cause__ or error)) from error
    except (VLLMClientError, ValueError) as error:
        raise RejectError(Reason.REQUEST_REFUSED, gist(error)) from error


def gist(error: BaseException) -> str:
    """Return the gist of an error whose text may be a page, and of what caused it."""
    texts = [one_line(link) for link in _chain(error)]
    return ": ".join(text[:MAX_ERROR_CHARS] for text in dict.fromkeys(texts))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
