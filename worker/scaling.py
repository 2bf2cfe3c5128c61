"""
Images at another size, by the bicubic filter of the models' own processors.

So they see what they would have made themselves. libvips has that filter in vector instructions, Pillow
has not: there it takes as long as unpacking the JPEG.
"""

import pyvips
from PIL import Image

from worker.decoding import RGB_BYTES
from worker.pixel_budget import Size

#: What is to shrink by more is reduced by a whole number first: as good, and several times faster.
REDUCING_GAP = 3.0

# Every image is seen once, and libvips would keep the last hundred.
pyvips.cache_set_max(0)


def scale(image: Image.Image, size_px: Size) -> Image.Image:
    """Return a copy of that size of an image of mode RGB or RGBA."""
    if size_px == image.size:
        return image.copy()
    # Only Pillow knows that transparent pixels have no colour, and enlarges by the same filter.
    if image.mode == "RGB" and size_px[0] <= image.width and size_px[1] <= image.height:
        return shrink(image, size_px)
    return image.resize(size_px, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)


def shrink(image: Image.Image, size_px: Size) -> Image.Image:
    """Return an RGB image that is nowhere longer, within rounding as Pillow would scale it."""
    width, height = size_px
    whole = pyvips.Image.new_from_memory(image.tobytes(), *image.size, RGB_BYTES, "uchar")
    factors = width / image.width, height / image.height
    shrunk = whole.resize(factors[0], vscale=factors[1], kernel="cubic", gap=REDUCING_GAP)
    return Image.frombytes("RGB", size_px, shrunk.write_to_memory())
