"""What becomes of an image file, of whatever kind, on its way to the model."""

import errno
import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat, PngImagePlugin, WebPImagePlugin

from contextvqa.errors import ImageError, Reason, TransientError
from worker import images
from worker.images import load_images
from worker.pixel_budget import PixelShare
from worker.scaling import scale

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112
#: More than JPEG's quantisation moves a flat colour by.
TOLERANCE = 6
#: Mean difference that decoding at a reduced scale may make, in steps of 255.
MAX_MEAN_DIFFERENCE = 2.0
#: The same of shrinking by libvips: less than what rounding makes.
MAX_FILTER_DIFFERENCE = 0.5


def load(
    *paths: Path | str,
    root: Path = Path(),
    max_image_px: int = 1_000_000,
    max_px: int = 1_000_000,
    min_side_px: int = 1,
) -> list[Image.Image]:
    share = PixelShare(max_px=max_px, min_side_px=min_side_px)
    references = [str(path) for path in paths]
    return load_images(references, root=root, max_image_px=max_image_px, share=share)


def refusal(*paths: Path | str, root: Path = Path(), max_image_px: int = 1_000_000) -> ImageError:
    with pytest.raises(ImageError) as caught:
        load(*paths, root=root, max_image_px=max_image_px)
    return caught.value


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def gradient(size: tuple[int, int] = (61, 43)) -> Image.Image:
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    image.paste("red", (0, 0, size[0] // 3, size[1] // 3))
    return image


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def is_close(found: Any, expected: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= TOLERANCE for a, b in zip(found, expected, strict=True))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write an image or bytes to a file of the test's directory."""

    def write(content: Image.Image | bytes, name: str = "image", **options: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_bytes(encoded(content, **options))
        return path

    return write


# --- Where the file is ---------------------------------------------------------------------------


def test_a_relative_reference_starts_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    Image.new("RGB", (3, 2), "red").save(tmp_path / "shots" / "a.png")

    [image] = load("shots/a.png", root=tmp_path)

    assert image.size == (3, 2)


def test_an_absolute_reference_ignores_the_root(save: Callable[..., Path]) -> None:
    path = save(Image.new("RGB", (3, 2)), name="a.png", kind="PNG")

    [image] = load(path, root=Path("/nowhere"))

    assert image.size == (3, 2)


def test_a_missing_file_is_named_with_the_place_that_was_looked_at(tmp_path: Path) -> None:
    error = refusal("shots/gone.png", root=tmp_path)

    assert error.reason is Reason.IMAGE_NOT_FOUND
    assert "'shots/gone.png'" in str(error)
    assert str(tmp_path / "shots/gone.png") in str(error)
    assert "--image-root" in str(error)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, ImageError), (errno.EIO, TransientError)]
)
def test_a_file_that_cannot_be_opened_is_named(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.open", fail)

    with pytest.raises(kind, match=r"'a\.png' cannot be opened.*" + os.strerror(number)):
        load("a.png")


@pytest.mark.parametrize("num_good_reads", range(8))
def test_a_network_file_system_that_fails_while_reading_is_tried_again(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, num_good_reads: int
) -> None:
    class Failing(io.BytesIO):
        num_reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.num_reads += 1
            if self.num_reads > num_good_reads:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return super().read(size)

    path = save(gradient(), kind="PNG")
    content = path.read_bytes()

    def reopen(descriptor: int, _: str) -> io.BytesIO:
        os.close(descriptor)
        return Failing(content)

    monkeypatch.setattr("os.fdopen", reopen)

    with pytest.raises(TransientError, match=os.strerror(errno.ESTALE)):
        load(path)


def test_a_process_out_of_memory_blames_no_image(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    path = save(gradient(), kind="PNG")
    monkeypatch.setattr(images, "scale", fail)

    with pytest.raises(TransientError, match="no memory left"):
        load(path)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_no_file_stays_open(tmp_path: Path, save: Callable[..., Path]) -> None:
    paths = [
        *(save(gradient(), name=name, kind=name) for name in images.FORMATS),
        save(b"no image", name="text"),
        save(encoded(gradient(), "PNG")[:200], name="cut"),
        tmp_path,
    ]
    before = open_files()

    outcomes = []
    for path in paths:
        try:
            outcomes.append(load(path))
        except ImageError as error:
            outcomes.append(error)

    assert open_files() == before
    assert len(outcomes) == len(paths)


# --- What is no image, or a broken one -----------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"P", "text"),
        (b" <!DOCTYPE html><html>", "an HTML page"),
        (b"<html>not found</html>", "an HTML page"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"PK\3\4\x14", "a ZIP archive"),
        (bytes(99), "its first bytes are those of none"),
    ],
)
def test_a_file_that_is_no_image_says_what_it_is(
    save: Callable[..., Path], content: bytes, kind: str
) -> None:
    error = refusal(save(content))

    assert error.reason is Reason.IMAGE_NOT_AN_IMAGE
    assert kind in str(error)


def test_a_reference_to_a_secret_tells_nothing_of_it(save: Callable[..., Path]) -> None:
    error = refusal(save(b"hunter2-hunter2-hunter2"))

    assert error.reason is Reason.IMAGE_NOT_AN_IMAGE
    assert "hunter" not in str(error)


def test_formats_beyond_the_list_are_refused(save: Callable[..., Path]) -> None:
    for name in ("ICO", "TGA", "PCX", "EPS"):
        error = refusal(save(gradient(), kind=name))

        assert error.reason is Reason.IMAGE_NOT_AN_IMAGE


@pytest.mark.parametrize("name", images.FORMATS)
def test_a_file_cut_off_anywhere_is_damaged(save: Callable[..., Path], name: str) -> None:
    content = encoded(gradient(), name)

    for share in (0.1, 0.2, 0.4, 0.6, 0.8):
        error = refusal(save(content[: int(len(content) * share)]))

        assert error.reason is Reason.IMAGE_DAMAGED
        assert "image'" in str(error)


def test_a_header_that_lies_about_huge_sizes_is_refused_before_decoding(
    save: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(png_of_size(65_000, 65_000))
    assert path.stat().st_size < 200

    error = refusal(path)

    assert error.reason is Reason.IMAGE_TOO_LARGE
    assert "--max-image-px" in str(error)
    assert capfd.readouterr() == ("", "")


def test_one_pixel_row_above_the_limit_is_too_large_and_says_the_size(
    save: Callable[..., Path],
) -> None:
    path = save(png_of_size(1000, 1001))

    error = refusal(path, max_image_px=1_000_000)

    assert error.reason is Reason.IMAGE_TOO_LARGE
    assert "(1,000 x 1,001) unpacks to 1,001,000 pixels" in str(error)
    assert "--max-image-px is 1,000,000" in str(error)


def test_an_image_at_the_limit_is_decoded(save: Callable[..., Path]) -> None:
    path = save(Image.new("RGB", (1000, 1000)), kind="PNG")

    [image] = load(path, max_image_px=1_000_000)

    assert image.size == (1000, 1000)


def test_a_webp_above_the_limit_is_refused_before_its_canvas_is_allocated(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(_: bytes) -> None:
        pytest.fail("the canvas was allocated")

    path = save(gradient(), kind="WEBP")
    monkeypatch.setattr(WebPImagePlugin._webp, "WebPAnimDecoder", allocate)

    error = refusal(path, max_image_px=1000)

    assert error.reason is Reason.IMAGE_TOO_LARGE
    assert "over twice the 1,000 pixels of --max-image-px" in str(error)


def tiff_of_one_tile(side: int) -> bytes:
    """Return a grey TIFF of 8 x 8 pixels that are the corner of one deflated tile."""
    tile = zlib.compress(bytes(1000))
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 200}
    tags[325] = len(tile)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries
    return header.ljust(200, b"\0") + tile


def test_a_tile_far_larger_than_its_image_is_too_large(save: Callable[..., Path]) -> None:
    error = refusal(save(tiff_of_one_tile(40_000)))

    assert error.reason is Reason.IMAGE_TOO_LARGE
    assert "(8 x 8) unpacks to 1,600,000,000 pixels" in str(error)


def test_a_tile_somewhat_larger_than_its_image_is_usual(save: Callable[..., Path]) -> None:
    [image] = load(save(tiff_of_one_tile(16)))

    assert image.size == (8, 8)


def test_a_text_chunk_that_inflates_to_gigabytes_is_damage(save: Callable[..., Path]) -> None:
    bomb = b"key\0\0" + zlib.compress(bytes(20_000_000))
    plain = encoded(gradient(), "PNG")
    content = plain[:33] + png_chunk(b"zTXt", bomb) + plain[33:]

    assert refusal(save(content)).reason is Reason.IMAGE_DAMAGED


@pytest.mark.parametrize("name", images.FORMATS)
def test_hostile_bytes_become_an_image_or_an_image_error_and_nothing_else(
    save: Callable[..., Path], name: str
) -> None:
    rng = random.Random(name)
    content = encoded(gradient(), name)

    for mutation in mutations(content, rng, count=300):
        with suppress(ImageError):
            [image] = load(save(mutation))
            assert image.mode == "RGB"
            assert len(image.tobytes()) == 3 * image.width * image.height


def mutations(content: bytes, rng: random.Random, *, count: int) -> Iterator[bytes]:
    """Yield damaged copies; half of the damage falls into the header, where it hurts most."""
    for _ in range(count):
        mutated = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 5])):
            place = rng.randrange(len(mutated) if rng.random() < 0.5 else min(len(mutated), 100))
            match rng.randrange(4):
                case 0:
                    mutated[place] = rng.randrange(256)
                case 1:
                    mutated[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff"])
                case 2:
                    mutated[place:place] = rng.randbytes(rng.randrange(1, 9))
                case _:
                    del mutated[place : place + rng.randrange(1, 9)]
        yield bytes(mutated)


# --- Colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", images.FORMATS)
def test_every_format_opens_whatever_the_file_is_called(
    save: Callable[..., Path], name: str
) -> None:
    options = {"quality": 100} if name in {"JPEG", "WEBP", "AVIF"} else {}
    path = save(Image.new("RGB", (16, 16), GREEN), name="misnamed.txt", kind=name, **options)

    [image] = load(path)

    assert type(image) is Image.Image
    assert image.mode == "RGB"
    assert is_close(image.getpixel((8, 8)), GREEN)


def with_palette(**info: Any) -> Image.Image:
    """Return a left half of index 0 (red) and a right half of index 1 (blue)."""
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (8, 0, 16, 16))
    image.info.update(info)
    return image


def halves(image: Image.Image) -> tuple[Any, Any]:
    return image.getpixel((2, 8)), image.getpixel((13, 8))


def test_a_palette_becomes_its_colours(save: Callable[..., Path]) -> None:
    [image] = load(save(with_palette(), kind="PNG"))

    assert halves(image) == (RED, BLUE)


@pytest.mark.parametrize(
    ("name", "transparency"), [("PNG", 1), ("PNG", b"\xff\x00"), ("GIF", 1)], ids=str
)
def test_a_transparent_palette_colour_is_white(
    save: Callable[..., Path], name: str, transparency: object
) -> None:
    [image] = load(save(with_palette(), kind=name, transparency=transparency))

    assert halves(image) == (RED, WHITE)


def test_a_half_transparent_palette_colour_is_mixed_with_white(save: Callable[..., Path]) -> None:
    [image] = load(save(with_palette(), kind="PNG", transparency=b"\xff\x80"))

    assert halves(image) == (RED, (127, 127, 255))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_on_white(save: Callable[..., Path], name: str) -> None:
    source = Image.new("RGBA", (16, 16), (255, 0, 0, 255))
    source.paste((0, 0, 0, 0), (8, 0, 16, 16))
    options = {"lossless": True} if name == "WEBP" else {}

    [image] = load(save(source, kind=name, **options))

    assert halves(image) == (RED, WHITE)


def test_grey_with_alpha_is_laid_on_white(save: Callable[..., Path]) -> None:
    source = Image.new("LA", (16, 16), (100, 255))
    source.paste((0, 0), (8, 0, 16, 16))

    [image] = load(save(source, kind="PNG"))

    assert halves(image) == ((100, 100, 100), WHITE)


def test_a_transparent_colour_of_an_rgb_png_is_white(save: Callable[..., Path]) -> None:
    source = with_palette().convert("RGB")

    [image] = load(save(source, kind="PNG", transparency=BLUE))

    assert halves(image) == (RED, WHITE)


def test_hidden_colours_do_not_bleed_into_a_shrunk_edge(save: Callable[..., Path]) -> None:
    source = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    source.paste((0, 0, 0, 0), (33, 0, 64, 64))

    [image] = load(save(source, kind="PNG"), max_px=64)

    assert {pixel[0] for pixel in image.get_flattened_data()} == {255}


@pytest.mark.parametrize(("mode", "value", "expected"), [("L", 90, (90,) * 3), ("1", 1, WHITE)])
def test_grey_and_black_and_white_become_rgb(
    save: Callable[..., Path], mode: str, value: int, expected: tuple[int, ...]
) -> None:
    [image] = load(save(Image.new(mode, (9, 9), value), kind="PNG"))

    assert image.getpixel((4, 4)) == expected


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(save: Callable[..., Path], name: str) -> None:
    path = save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind=name)

    [image] = load(path)

    assert is_close(image.getpixel((8, 8)), RED)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize(("deep", "expected"), [(0, 0), (256, 1), (32768, 128), (65535, 255)])
def test_16_bit_grey_is_scaled_and_not_clipped(
    save: Callable[..., Path], name: str, deep: int, expected: int
) -> None:
    [image] = load(save(Image.new("I;16", (9, 9), deep), kind=name))

    assert image.getpixel((4, 4)) == (expected,) * 3


def test_16_bit_big_endian_tiff_is_scaled(save: Callable[..., Path]) -> None:
    [image] = load(save(Image.new("I;16B", (9, 9), 32768), kind="TIFF"))

    assert image.getpixel((4, 4)) == (128, 128, 128)


def test_16_bit_rgb_png_keeps_its_colours(save: Callable[..., Path]) -> None:
    rows = (b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 4) * 4
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)

    [image] = load(save(content))

    assert image.getpixel((2, 2)) == (255, 128, 0)


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_values_that_are_no_agreed_colours_are_unsupported(
    save: Callable[..., Path], mode: str
) -> None:
    error = refusal(save(Image.new(mode, (9, 9)), kind="TIFF"))

    assert error.reason is Reason.IMAGE_UNSUPPORTED
    assert repr(mode) in str(error)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_is_its_first_frame(save: Callable[..., Path], name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if name == "WEBP" else {}

    path = save(frames[0], kind=name, save_all=True, append_images=frames[1:], **options)

    [image] = load(path)
    assert image.getpixel((8, 8)) == RED


def test_a_phone_photo_of_several_pictures_is_its_first(save: Callable[..., Path]) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in (RED, BLUE)]
    content = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(content)).format == "MPO"

    for max_px in (1_000_000, 100):
        [image] = load(save(content), max_px=max_px)

        assert is_close(image.getpixel((4, 4)), RED)


# --- Which way is up -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, "top left"),
        (2, "top right"),
        (3, "bottom right"),
        (4, "bottom left"),
        (5, "top left"),
        (6, "top right"),
        (7, "bottom right"),
        (8, "bottom left"),
    ],
)
def test_the_stored_first_pixel_goes_where_exif_says(
    save: Callable[..., Path], name: str, orientation: int, corner: str
) -> None:
    stored = Image.new("RGB", (48, 32), "blue")
    stored.paste("red", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation

    [image] = load(save(stored, kind=name, exif=exif))

    assert image.size == ((48, 32) if orientation < 5 else (32, 48))
    right, bottom = image.width - 5, image.height - 5
    corners = {
        "top left": (4, 4),
        "top right": (right, 4),
        "bottom left": (4, bottom),
        "bottom right": (right, bottom),
    }
    assert [name for name, place in corners.items() if is_red(image, place)] == [corner]


def is_red(image: Image.Image, place: tuple[int, int]) -> bool:
    red, _, blue = image.getpixel(place)  # type: ignore[misc]
    return bool(red > blue)


def test_an_upright_image_cannot_be_turned_again(save: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 10_000)

    [image] = load(save(gradient(), kind="PNG", exif=exif, pnginfo=text))

    assert image.info == {}
    assert not image.getexif()


def test_damaged_exif_does_not_cost_the_image(save: Callable[..., Path]) -> None:
    path = save(gradient(), kind="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")

    [image] = load(path)

    assert image.size == (61, 43)


# --- The pixel budget ----------------------------------------------------------------------------


def test_an_image_within_the_budget_keeps_its_pixels(save: Callable[..., Path]) -> None:
    source = gradient()

    [image] = load(save(source, kind="PNG"), max_px=61 * 43)

    assert image.tobytes() == source.tobytes()


@pytest.mark.parametrize("name", images.FORMATS)
def test_a_larger_image_shrinks_and_keeps_its_aspect(save: Callable[..., Path], name: str) -> None:
    [image] = load(save(gradient((900, 600)), kind=name), max_px=60_000)

    assert image.size == (300, 200)


def test_each_image_of_a_record_has_its_share(save: Callable[..., Path]) -> None:
    large = save(gradient((900, 600)), name="large", kind="JPEG")
    small = save(gradient((20, 10)), name="small", kind="JPEG")

    loaded = load(large, small, large, max_px=30_000)

    assert [image.size for image in loaded] == [(212, 141), (20, 10), (212, 141)]


def test_a_tiny_image_is_enlarged_to_what_every_model_takes(save: Callable[..., Path]) -> None:
    source = Image.new("RGB", (1, 1), RED)

    [image] = load(save(source, kind="PNG"), min_side_px=28)

    assert image.size == (28, 28)
    assert set(image.get_flattened_data()) == {RED}


@pytest.mark.parametrize("max_px", [20_000, 200_000, 700_000])
def test_a_jpeg_decoded_at_a_reduced_scale_looks_like_the_whole_one_scaled(
    save: Callable[..., Path], max_px: int
) -> None:
    source = Image.effect_mandelbrot((1200, 900), (-2.2, -1.4, 0.9, 1.4), 60).convert("RGB")
    path = save(source, kind="JPEG", quality=90)

    [image] = load(path, max_px=max_px, max_image_px=2_000_000)

    with Image.open(path) as whole:
        expected = whole.convert("RGB").resize(image.size, Image.Resampling.BICUBIC)
    difference = ImageStat.Stat(ImageChops.difference(expected, image))
    assert max(difference.mean) < MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("size", [(300, 200), (1199, 897), (28, 900), (1200, 21)])
def test_an_image_shrinks_as_pillows_bicubic_filter_would_shrink_it(size: tuple[int, int]) -> None:
    source = Image.effect_mandelbrot((1200, 900), (-2.2, -1.4, 0.9, 1.4), 60).convert("RGB")

    found = scale(source, size)

    expected = source.resize(size, Image.Resampling.BICUBIC)
    assert found.size == size
    assert max(ImageStat.Stat(ImageChops.difference(expected, found)).mean) < MAX_FILTER_DIFFERENCE


@pytest.mark.parametrize("size", [(2000, 10), (10, 2000)])
def test_a_strip_of_two_hundred_to_one_still_passes(
    save: Callable[..., Path], size: tuple[int, int]
) -> None:
    [image] = load(save(Image.new("RGB", size, RED), kind="PNG"), min_side_px=28)

    assert sorted(image.size) == [28, 5600]


@pytest.mark.parametrize("size", [(2001, 10), (10, 2001)])
def test_a_longer_strip_is_refused_by_its_header_alone(
    save: Callable[..., Path], size: tuple[int, int]
) -> None:
    error = refusal(save(png_of_size(*size)))

    assert error.reason is Reason.IMAGE_UNSUPPORTED
    assert "more than 200 times as long as wide" in str(error)


def test_a_large_jpeg_is_not_decoded_at_full_size(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    scale = images.scale

    def spy(image: Image.Image, size_px: tuple[int, int]) -> Image.Image:
        decoded.append(image.size)
        return scale(image, size_px)

    monkeypatch.setattr(images, "scale", spy)

    [image] = load(save(gradient((900, 600)), kind="JPEG"), max_px=15_000)

    assert decoded == [(225, 150)]
    assert image.size == (150, 100)


# --- The caller's view ---------------------------------------------------------------------------


def test_one_bad_image_of_a_record_is_named(save: Callable[..., Path]) -> None:
    good = save(gradient(), name="good.png", kind="PNG")
    bad = save(b"text", name="bad.png")

    error = refusal(good, bad, good)

    assert repr(str(bad)) in str(error)
    assert "good.png" not in str(error)


def test_threads_decode_side_by_side_without_a_warning(save: Callable[..., Path]) -> None:
    paths = [save(gradient((300, 200)), name=name, kind=name) for name in images.FORMATS] * 5

    with ThreadPoolExecutor(8) as pool:
        sizes = {loaded[0].size for loaded in pool.map(load, paths)}

    assert sizes == {(300, 200)}
