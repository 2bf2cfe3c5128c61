"""Hostile image files: each is refused with its reason or is fine, and never anything else."""

import io
import os
import random
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image, features

from contextvqa.errors import ImageError, Reason
from tests.faults.conftest import MakeWorld
from tests.faults.plan import trials
from tests.faults.processes import fork
from tests.faults.report import report
from tests.faults.world import entries, entry
from worker.images import load_images
from worker.pixel_budget import PixelShare

MAX_IMAGE_PX = 1_000_000
SHARE = PixelShare(max_px=200_000)
KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]
KINDS += ["AVIF"] if features.check("avif") else []


def encoded(kind: str, image: Image.Image, **options: object) -> bytes:
    """Return the file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def samples() -> dict[str, bytes]:
    """Return a good file of every format."""
    image = Image.radial_gradient("L").resize((61, 43)).convert("RGB")
    return {kind: encoded(kind, image) for kind in KINDS}


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Damage a file: bytes set, flipped, cut, repeated, moved, or filled with extremes."""
    damaged = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        at = generator.randrange(len(damaged))
        way = generator.randrange(6)
        if way == 0:
            damaged[at] = generator.randrange(256)
        elif way == 1:
            damaged[at] ^= 1 << generator.randrange(8)
        elif way == 2:
            del damaged[max(1, at) :]
        elif way == 3:
            damaged[at:at] = damaged[at : at + generator.randrange(64)]
        elif way == 4:
            damaged[at : at + 4] = generator.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
        else:
            del damaged[at : at + generator.randrange(64)]
        damaged = damaged or bytearray(b"\0")
    return bytes(damaged)


def test_a_mutated_file_of_any_format_is_fine_or_refused_with_a_reason(tmp_path: Path) -> None:
    files = samples()
    for trial in trials("images"):
        began = time.monotonic()
        log = tmp_path / f"{trial.number}.log"
        # In a process of its own, as a decoder is: a file may take it along, or leave damage there.
        child = fork("images", partial(load_mutated, files, trial.random, tmp_path), log)
        if child.wait():
            trial.failure = f"ended with {child.wait()}:\n{child.words()}"
        log.unlink()
        report.note("images", len(KINDS))
        report.add_time("images", time.monotonic() - began)


def load_mutated(files: dict[str, bytes], generator: random.Random, directory: Path) -> int:
    """Load a damaged file of every format; say what is wrong with any, and return how many are."""
    path = directory / "image"
    num_wrong = 0
    for kind in KINDS:
        path.write_bytes(mutate(files[kind], generator))
        if wrong := wrong_with(path, kind):
            print(wrong)  # noqa: T201 - into the log of this process
            num_wrong += 1
    return num_wrong


def wrong_with(path: Path, kind: str) -> str:
    """Load a file; return what came of it where that is neither an image nor a reason."""
    try:
        (image,) = load(path)
    except ImageError as error:
        return "" if isinstance(error.reason, Reason) else repr(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        return f"{kind}: {error!r}"
    is_sound = image.mode == "RGB" and 0 < image.width * image.height <= SHARE.max_px
    return "" if is_sound else f"{kind}: {image!r}"


def load(path: Path) -> list[Image.Image]:
    """Load one file, with small limits."""
    return load_images([str(path)], root=Path(), max_image_px=MAX_IMAGE_PX, share=SHARE)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """Return a PNG that says it has this size, and has hardly any data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(bytes(1000)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """Return 100 MB of zeros, packed."""
    return zlib.compress(bytes(100_000_000))


#: Files, and why they are refused.
FILES: dict[str, tuple[bytes, Reason]] = {
    "empty": (b"", Reason.IMAGE_NOT_AN_IMAGE),
    "text": (b"hello", Reason.IMAGE_NOT_AN_IMAGE),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.IMAGE_NOT_AN_IMAGE),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Reason.IMAGE_NOT_AN_IMAGE),
    "pdf": (b"%PDF-1.7\n", Reason.IMAGE_NOT_AN_IMAGE),
    "huge": (png(9400, 9400), Reason.IMAGE_TOO_LARGE),
    "flat": (png(0, 5), Reason.IMAGE_DAMAGED),
    "no-data": (png(50, 50), Reason.IMAGE_DAMAGED),
    "ztxt": (png(50, 50, chunk(b"zTXt", b"k\0\0" + bomb())), Reason.IMAGE_DAMAGED),
    "iccp": (png(50, 50, chunk(b"iCCP", b"k\0\0" + bomb())), Reason.IMAGE_DAMAGED),
    "float": (encoded("TIFF", Image.new("F", (9, 9), 0.5)), Reason.IMAGE_UNSUPPORTED),
    "cut": (samples()["JPEG"][:300], Reason.IMAGE_DAMAGED),
}


def special(root: Path) -> Iterator[tuple[str, Reason]]:
    """Make what is no regular file, and yield references that lead to such or nowhere."""
    os.mkfifo(root / "fifo")
    (root / "directory").mkdir()
    (root / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(root)  # socket paths are short
        listening.bind("socket")
        os.chdir(here)
    for name in ("fifo", "directory", "socket", "/dev/zero", "/dev/null"):
        yield name, Reason.IMAGE_NOT_A_FILE
    for name in ("missing", "loop", "x" * 300, "nul\0", "fifo/below", "missing/../missing"):
        yield name, Reason.IMAGE_NOT_FOUND


def test_hostile_files_are_rejected_one_by_one_and_the_good_ones_pass(
    make_world: MakeWorld, images: Path
) -> None:
    root = images / "hostile"
    root.mkdir()
    references = list(special(root))
    for name, (data, reason) in FILES.items():
        (root / name).write_bytes(data)
        references.append((name, reason))
    hostile = [
        entry(
            f"hostile {number}",
            image=name if name.startswith("/") else f"hostile/{name}",
            reasons=[reason],
        )
        for number, (name, reason) in enumerate(references)
    ]
    for trial in trials("bad-images", 1):
        mixed = [*hostile, *entries(100)]
        trial.random.shuffle(mixed)
        with make_world(trial, mixed) as world:
            world.num_faults = len(hostile)
            world.decodes_apart = True
            world.worker_flags = ("--max-image-px", MAX_IMAGE_PX)
            world.finish()
