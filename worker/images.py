"""
Images for the model: references in, RGB images within a pixel budget out.

    reference -> files.place_of, open_file -> read_header -> decode: to_colour -> scale -> on_white -> upright

Input files are hostile until proven otherwise. Whatever is wrong with one is an `ImageError` with
its reason, except trouble that may pass, which is a `TransientError`.
"""

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError, features
from PIL.ExifTags import Base as ExifTag
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from contextvqa.errors import ImageError, Reason, RecordError, TransientError
from worker.files import TRANSIENT_ERRNOS, open_file, place_of
from worker.pixel_budget import MAX_ASPECT, PixelShare, fit
from worker.scaling import scale

#: No format that starts another program (EPS), none that hides images of another size (ICO), and
#: not MPO, which Pillow opens as JPEG.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"),
    *(("AVIF",) if features.check("avif") else ()),
)

#: What Pillow raises from hostile bytes: found by mutating files of every format and in its source.
DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(AttributeError, AssertionError, RuntimeError, MemoryError, struct.error, zlib.error),
)

#: Bytes that tell a format.
SIGNATURE_BYTES = 16
#: How files begin that are taken for images, in lower case.
SIGNATURES = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"<svg": "SVG",
    b"<?xml": "XML, maybe SVG",
    b"%pdf": "a PDF",
    b"%!ps": "PostScript",
    b"version https://": "a pointer of Git LFS, whose file was not fetched",
    b"pk\3\4": "a ZIP archive",
    b"\x1f\x8b": "a gzip file",
}

#: Modes that `Image.convert` turns into RGB or RGBA with the right colours.
COLOUR_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"}
#: Modes and formats whose samples run from 0 to 65535. A 32-bit TIFF ("I") has no agreed white.
DEEP_MODES = {"I;16", "I;16B", "I;16L", "I;16N"}
DEEP_FORMATS = {"PNG", "PPM"}

#: EXIF orientation to what undoes it; 1 is upright.
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: The entry of warnings.filters that `configure_pillow` makes.
PILLOW_WARNINGS: tuple[object, ...] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def load_images(
    references: Sequence[str],
    *,
    root: Path,
    is_confined: bool = False,
    max_image_px: int,
    share: PixelShare,
) -> list[Image.Image]:
    """
    Decode the images of one record for the model.

    Blocks on the file system and the CPU, and may die of a hostile file: call it in a decoder process.

    Args:
        references: Paths. Relative ones start from *root*.

        is_confined: Whether none may lead out of *root*.

        max_image_px: Most pixels an image may have before it shrinks.

        share: What each image may have. A larger one shrinks to it; one with a short side is
            enlarged.

    Returns:
        RGB images in the order of *references*, upright, on white where they were transparent,
        the first frame where they were animated. Fully loaded, without metadata, files closed.

    Raises:
        ImageError: An image cannot be had: its reason says why, its message names the reference.
            A retry reads the same bytes.

        TransientError: The file system failed in a way that may pass.

    """
    configure_pillow(max_image_px)
    place = partial(place_of, root=root, is_confined=is_confined)
    return [
        load_image(reference, place=place, max_image_px=max_image_px, share=share)
        for reference in references
    ]


def configure_pillow(max_image_px: int) -> None:
    """
    Make Pillow silent and its pixel limit ours. Process-wide, as Pillow knows no other way.

    The limit is set, not removed, because it alone stops a WebP before its canvas is allocated.
    Warnings would reach stderr once per hostile file and name none. (libtiff, written in C, still
    prints a line of its own for some damaged TIFFs.)
    """
    Image.MAX_IMAGE_PIXELS = max_image_px
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # Looked up every time, because whoever leaves warnings.catch_warnings takes the filter away.
    if PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def load_image(
    reference: str, *, place: Callable[[str], Path], max_image_px: int, share: PixelShare
) -> Image.Image:
    """Decode one image into its share of pixels. Raises as `load_images` does."""
    try:
        with open_file(place(reference)) as file:
            return decode(read_header(file, max_image_px), share)
    except (RecordError, Image.DecompressionBombError, *DECODE_ERRORS) as error:
        raise explain(error, f"image {reference!r}") from error


def explain(error: Exception, name: str) -> RecordError:
    """Return what an error means for the record of the image that the message is to *name*."""
    if isinstance(error, ImageError):
        return ImageError(error.reason, f"{name} {error}")
    if isinstance(error, TransientError):
        return TransientError(f"{name} {error}")
    if isinstance(error, MemoryError):
        return TransientError(f"{name} cannot be decoded now: this process has no memory left.")
    if isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS:
        return TransientError(f"{name} cannot be read now: {error.strerror}.")
    if isinstance(error, Image.DecompressionBombError):
        message = f"{name} has over twice the {Image.MAX_IMAGE_PIXELS:,} pixels of --max-image-px."
        return ImageError(Reason.IMAGE_TOO_LARGE, message)
    detail = str(error) or type(error).__name__
    return ImageError(Reason.IMAGE_DAMAGED, f"{name} is damaged or cut off: {detail}")


def read_header(file: BinaryIO, max_image_px: int) -> Image.Image:
    """
    Read the format and size of an image, none of its pixels.

    Raises:
        ImageError: It is no image of a known format, one of more than *max_image_px* pixels, or a
            strip that no model takes.

    """
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(*unidentified(file)) from error
    num_px = decoded_px(image)
    if num_px < 1:
        raise ImageError(Reason.IMAGE_DAMAGED, "is damaged: it has no pixels.")
    if num_px > max_image_px:
        size = f"{image.width:,} x {image.height:,}"
        message = f"({size}) unpacks to {num_px:,} pixels; --max-image-px is {max_image_px:,}."
        raise ImageError(Reason.IMAGE_TOO_LARGE, message)
    if max(image.size) > MAX_ASPECT * min(image.size):
        # White around it would make a blank page with a line, and an article about nothing; cut
        # to pieces it is another image than the one that its record names.
        size = f"{image.width:,} x {image.height:,}"
        message = f"is {size}: more than {MAX_ASPECT} times as long as wide, which no model takes."
        raise ImageError(Reason.IMAGE_UNSUPPORTED, message)
    return image


def decoded_px(image: Image.Image) -> int:
    """Return the most pixels that decoding holds at once."""
    num_px = image.width * image.height
    if not isinstance(image, TiffImageFile):
        return num_px
    # A TIFF of 8 x 8 pixels may consist of one tile of 40,000 x 40,000.
    sides = [image.tag_v2.get(tag, 1) for tag in (TILEWIDTH, TILELENGTH)]
    return max(num_px, prod(side for side in sides if isinstance(side, int)))


def unidentified(file: BinaryIO) -> tuple[Reason, str]:
    """Tell a file that begins as an image from one that is something else."""
    file.seek(0)
    start = file.read(SIGNATURE_BYTES)
    # Padded, because Pillow's tests index into it.
    padded = start.ljust(SIGNATURE_BYTES, b"\0")
    accepts = [Image.OPEN[name][1] for name in FORMATS]
    if any(accept is not None and accept(padded) for accept in accepts):
        return Reason.IMAGE_DAMAGED, "is damaged or cut off: its header makes no sense."
    return Reason.IMAGE_NOT_AN_IMAGE, f"is no image of a known format: {kind_of(start)}."


def kind_of(start: bytes) -> str:
    """
    Say what kind of file begins so.

    Never the bytes themselves: the message lands in rejects.jsonl and in Redis, and a reference may
    lead to a password, a key or whatever else the worker can read.
    """
    folded = start.lstrip().lower()
    for signature, kind in SIGNATURES.items():
        if folded.startswith(signature):
            return kind
    if not start:
        return "the file is empty"
    is_text = all(byte in b"\t\n\r" or byte >= ord(" ") for byte in start)
    return "text" if is_text else "its first bytes are those of none"


def decode(image: Image.Image, share: PixelShare) -> Image.Image:
    """Decode the first frame into upright RGB of the size that its share gives it."""
    size_px = fit(image.size, share)
    # Only JPEG can: it decodes to a half, a quarter or an eighth, never below the size asked for.
    image.draft(None, size_px)
    image.load()
    orientation = read_orientation(image)
    # Transparency goes after shrinking: the white ground then costs no full-size copy.
    image = on_white(scale(to_colour(image), size_px))
    if orientation in TRANSPOSITIONS:
        image = image.transpose(TRANSPOSITIONS[orientation])
    # With the orientation still in it, the next reader would turn the image again.
    image.info.clear()
    return image


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ExifTag.Orientation, 1)
    except DECODE_ERRORS:  # Damaged metadata is no reason to lose good pixels.
        return 1
    return value if isinstance(value, int) else 1


def to_colour(image: Image.Image) -> Image.Image:
    """
    Convert any mode to RGB, or to RGBA where something is transparent.

    Raises:
        ImageError: The mode's values have no agreed meaning as RGB.

    """
    if image.mode in DEEP_MODES or (image.mode == "I" and image.format in DEEP_FORMATS):
        return scale_16_bit(image).convert("RGB")
    if image.mode not in COLOUR_MODES:
        message = f"has pixels of mode {image.mode!r}, which have no agreed meaning as RGB."
        raise ImageError(Reason.IMAGE_UNSUPPORTED, message)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def scale_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255, rounded; Pillow's own conversion clips at 255."""
    return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")


def on_white(image: Image.Image) -> Image.Image:
    """Lay an image on white where it is transparent."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image)
    return ground
