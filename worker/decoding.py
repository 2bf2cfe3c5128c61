"""
What a worker and its decoder processes say to one another.

Apart from both, so that the worker loads nothing that decodes.
"""

import msgspec

from contextvqa.errors import Reason
from worker.pixel_budget import PixelShare, Size

#: Argument of a decoder that keeps within its image root.
CONFINED = "confined"
#: Bytes of a pixel in the shared memory.
RGB_BYTES = 3


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The images of one record."""

    references: tuple[str, ...]
    share: PixelShare


class Decoded(msgspec.Struct, frozen=True, kw_only=True, tag="decoded"):
    """They lie in the shared memory, one after the other."""

    sizes_px: tuple[Size, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """One of them cannot be had; without a reason another try may help."""

    message: str
    reason: Reason | None = None


Answer = Decoded | Failed
