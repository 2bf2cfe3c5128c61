"""
Every error this project raises, as one tree. The class decides what follows, never the text.

    ContextVQAError                exit code of the command it ends
    ├── UsageError                 2   the command line, the settings or the input are wrong
    ├── UnavailableError           3   Redis, the model or the engine cannot be had
    │   └── NoServerError         75   of a worker process: Redis; its supervisor waits, or ends with 3
    ├── TooManyRejectsError        4   the run is complete, but too little of it is usable
    ├── IncompleteError            5   the run ended with records still pending
    ├── SinkError                  5   results cannot be written; nothing unwritten is acknowledged
    ├── RunError                   5   one run cannot go on: it is paused, other runs go on
    ├── RestartError              70   this process must end; its supervisor starts another
    │   └── CrashError                 as if it had been killed: what was in flight is suspect
    └── RecordError                the fate of one record, never of the command
        ├── TransientError         tried again
        └── RejectError            rejected at once, with a reason
            └── ImageError
"""

import errno
from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar

#: Begins the one line on stderr with which a command ends on an error.
ERROR_PREFIX = "contextvqa: error: "
#: Exit code of a traceback, and that of Ctrl-C, as every shell reports it.
BUG = 1
INTERRUPTED = 130

#: What the operating system says of a path that is wrong, not of the device under it.
PATH_ERRNOS = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOENT, errno.ENOTDIR),
        *(errno.ELOOP, errno.ENAMETOOLONG, errno.EEXIST),
    }
)


def one_line(value: object) -> str:
    """
    Return a value's text as one line that a terminal shows and does not obey; an error's type
    where it has no text.
    """
    return visible(" ".join(str(value).split()) or type(value).__name__)


def visible(text: str) -> str:
    """
    Return a text with every sign escaped that a terminal would obey, or a reader take for the end
    of a line: what others wrote must not look like what we say.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def in_lines(lines: Iterable[str]) -> str:
    """Return lines as a text that has no others, whatever is quoted in them."""
    return "\n".join(map(visible, lines))


class Reason(StrEnum):
    """Why a record was rejected. The codes land in rejects.jsonl: they are never renamed."""

    #: The image reference names nothing.
    IMAGE_NOT_FOUND = "image.not_found"
    #: The image reference names a directory, a device, a pipe or a socket.
    IMAGE_NOT_A_FILE = "image.not_a_file"
    #: The reference leads out of --image-root, and --confine-images keeps within.
    IMAGE_OUTSIDE = "image.outside"
    #: The operating system refuses to read the file.
    IMAGE_UNREADABLE = "image.unreadable"
    #: The bytes are no image of a known format.
    IMAGE_NOT_AN_IMAGE = "image.not_an_image"
    #: The file begins as an image and is damaged or cut off.
    IMAGE_DAMAGED = "image.damaged"
    #: The image has more pixels than the worker decodes.
    IMAGE_TOO_LARGE = "image.too_large"
    #: An image whose pixels have no agreed meaning as RGB.
    IMAGE_UNSUPPORTED = "image.unsupported"
    #: The engine refuses the request: too long, too many images, an image its processor cannot take.
    REQUEST_REFUSED = "request.refused"
    #: The request failed again on every try.
    RETRIES_EXHAUSTED = "job.retries_exhausted"
    #: The record was in flight at too many crashes.
    CRASHED = "job.crashed"
    #: The job's payload is not this version's.
    MALFORMED = "job.malformed"
    #: The model wrote nothing.
    PARSE_EMPTY = "parse.empty"
    #: The text holds no article.
    PARSE_NO_CONTEXT = "parse.no_context"
    #: The text holds no whole question/answer pair.
    PARSE_NO_PAIRS = "parse.no_pairs"
    #: As PARSE_NO_PAIRS, because the model says that it will not, or cannot, write.
    PARSE_REFUSAL = "parse.refusal"
    #: As PARSE_NO_PAIRS, because max_tokens cut the text before the first pair was whole.
    PARSE_TRUNCATED = "parse.truncated"
    #: max_tokens cut the text.
    GATE_TRUNCATED = "gate.truncated"
    #: The article says that the model will not or cannot write one.
    GATE_REFUSAL = "gate.refusal"
    #: The article says the same again and again.
    GATE_REPETITION = "gate.repetition"
    #: The article holds characters that no writer wrote: a wrong decoding, or control characters.
    GATE_MOJIBAKE = "gate.mojibake"
    #: The article holds Markdown, HTML or a chat template's tokens.
    GATE_MARKUP = "gate.markup"
    #: The article has too few or too many words.
    GATE_ARTICLE_LENGTH = "gate.article_length"
    #: The article points at the image, as in "this photo shows".
    GATE_IMAGE_REFERENCE = "gate.image_reference"
    #: The article has one of SK-VQA's words: picture, photo, image, painting.
    GATE_IR = "gate.ir"
    #: The article has another word for an image.
    GATE_IR_EXTENDED = "gate.ir_extended"
    #: Fewer pairs than --min-pairs passed the gates.
    GATE_MIN_PAIRS = "gate.min_pairs"


class ContextVQAError(Exception):
    """Base of all errors below. The message is one line: found, expected, what to do."""

    exit_code: ClassVar[int] = BUG


class UsageError(ContextVQAError):
    """Raised when the command line, a setting or the input is wrong."""

    exit_code = 2


class UnavailableError(ContextVQAError):
    """Raised when Redis, the model or the engine cannot be had."""

    exit_code = 3


class NoServerError(UnavailableError):
    """Raised when a worker process finds no server: that says nothing of its GPU or its model."""

    exit_code = 75


class TooManyRejectsError(ContextVQAError):
    """Raised when a complete run has more rejects than `--max-rejects`."""

    exit_code = 4


class IncompleteError(ContextVQAError):
    """Raised when a run ends with records still pending."""

    exit_code = 5


class SinkError(ContextVQAError):
    """Raised when results cannot be written durably. The process must stop and settle nothing."""

    exit_code = 5


class RunError(ContextVQAError):
    """Raised when one run cannot go on. A daemon pauses it and goes on with the others."""

    exit_code = 5


class RestartError(ContextVQAError):
    """Raised when a daemon must drain and end, so that its supervisor starts another."""

    exit_code = 70


class CrashError(RestartError):
    """Raised when a daemon must end at once. Each record in flight may have been the cause."""


class RecordError(ContextVQAError):
    """Base of the errors that end one execution of one record."""


class TransientError(RecordError):
    """Raised when the same record may well succeed on another try."""


class RejectError(RecordError):
    """Raised when no further try can help: the record is rejected with `reason`."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ImageError(RejectError):
    """Raised when an image cannot be decoded. Its record is rejected, others go on."""
