"""
How large an image goes to the model: arithmetic alone, which knows no engine and opens no file.

    context - output - prompt = tokens left -> pixels of one image's share -> its size

More pixels than that the model cannot use. They would be decoded, carried and shrunk for nothing,
or exceed the context, for which the engine refuses the whole record.
"""

from dataclasses import dataclass
from math import isqrt, prod

from contextvqa.errors import Reason, RejectError

Size = tuple[int, int]

#: Shortest side that all image processors take; some fail below it. Smaller images are enlarged.
MIN_SIDE_PX = 28
#: Times that an image may be longer than wide. Qwen's processors refuse more.
MAX_ASPECT = 200
#: Tokens that a chat template puts around an image, counted generously: Qwen's are two.
TOKENS_AROUND_IMAGE = 16
#: How far an image can end above the processor's least pixels when that rounds its sides up.
ROUNDED_UP = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenGrid:
    """What the image processors of the Qwen-VL family do: one token is one square of the image."""

    #: Side of that square. The sides of an image are rounded to multiples of it.
    side_px: int
    #: A smaller image is enlarged to this, a larger one shrinks to that.
    min_image_px: int
    max_image_px: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelShare:
    """What one image of a record may take to the model."""

    max_px: int
    #: The sides of an image that shrinks are multiples of this, so that nothing scales it again.
    multiple_px: int = 1
    #: A multiple of the above. An image with a shorter side is enlarged first.
    min_side_px: int = MIN_SIDE_PX


def share_of(
    *, num_images: int, max_record_px: int, tokens_left: int, grid: TokenGrid | None
) -> PixelShare:
    """
    Return what each image of a record may take.

    Args:
        num_images: Images of the record; none counts as one.
        max_record_px: Pixels that they may carry together, whatever the model could use.
        tokens_left: What the prompt's text and the output leave of the context.
        grid: None for a model that does not say how its tokens and pixels hang together. It gets
            `max_record_px`, and the engine refuses what is too long all the same.

    Raises:
        RejectError: There is no room for an image.

    """
    num_images = max(1, num_images)
    tokens = tokens_left // num_images - TOKENS_AROUND_IMAGE
    least_tokens = 1 if grid is None else ROUNDED_UP * grid.min_image_px // grid.side_px**2
    if tokens < least_tokens:
        message = (
            f"prompt and --max-tokens leave {tokens_left:,} tokens of the context to "
            f"{num_images} images, each of which needs {least_tokens + TOKENS_AROUND_IMAGE}; "
            "shorten the prompt, or change --max-tokens or --max-model-len."
        )
        raise RejectError(Reason.REQUEST_REFUSED, message)
    multiple_px, max_px = 1, max_record_px // num_images
    if grid is not None:
        multiple_px = grid.side_px
        max_px = min(max_px, tokens * grid.side_px**2, grid.max_image_px)
    min_side_px = -(-MIN_SIDE_PX // multiple_px) * multiple_px
    if max_px < min_side_px**2:
        message = f"{num_images} images are too many for --max-record-px {max_record_px:,}."
        raise RejectError(Reason.REQUEST_REFUSED, message)
    return PixelShare(max_px=max_px, multiple_px=multiple_px, min_side_px=min_side_px)


def fit(size_px: Size, share: PixelShare) -> Size:
    """
    Return the size at which an image goes to the model.

    Its own, if that is within the share and no side is too short. One that shrinks gets the size
    that Qwen's `smart_resize` would choose, which keeps its aspect as far as whole squares allow.
    Strips lose length where that would break a limit.
    """
    width, height = enlarge(size_px, share.min_side_px)
    multiple_px = share.multiple_px
    # The processor rounds too, and may end above the share of an image that was within it.
    rounded_px = prod(round(side / multiple_px) * multiple_px for side in (width, height))
    if max(width * height, rounded_px) <= share.max_px:
        return width, height
    # Integer square roots round down, so the product stays within the share.
    fitted_width = isqrt(share.max_px * width // height) // multiple_px * multiple_px
    fitted_height = isqrt(share.max_px * height // width) // multiple_px * multiple_px
    short = max(min(fitted_width, fitted_height), share.min_side_px)
    # Rounding makes a strip longer still: too long for its share, or for the processor itself.
    longest = min(MAX_ASPECT * short, share.max_px // short) // multiple_px * multiple_px
    long = min(max(fitted_width, fitted_height), longest)
    return (long, short) if width > height else (short, long)


def enlarge(size_px: Size, min_side_px: int) -> Size:
    """Return the size of that aspect whose short side is at least *min_side_px*."""
    width, height = size_px
    short = min(size_px)
    if short >= min_side_px:
        return size_px
    return round(width * min_side_px / short), round(height * min_side_px / short)
