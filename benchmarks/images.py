"""
CPU per 12-megapixel JPEG, from the file to the tensor that the model's processor cuts into patches.

    python -m benchmarks.images [--json]

Before: `Image.open(path).convert("RGB")`, then the resize of Qwen2-VL's own processor, on one
thread. Now: `worker.images.load_images` with the share of pixels that the same processor would use,
then the same processor, which finds nothing left to scale. Both end at the same size, so that the
pixels can be compared. `worker` is what of it the worker process spends: the rest is a decoder's.
"""

import argparse
import asyncio
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from PIL import Image, ImageChops, ImageStat, __version__

from contextvqa.settings import Images
from worker import environment
from worker.decoders import Decoders
from worker.images import load_images
from worker.pixel_budget import PixelShare

#: A phone's photo.
PHOTO_PX = (4032, 3024)
#: Most pixels of an image: that of the flags model, 256 and 1,280 tokens, and `--max-record-px`.
TARGETS_PX = (12_544, 256 * 784, 1280 * 784, 2_000_000)
#: Runs of each; the least counts, as other programs can only add to it.
NUM_RUNS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One target, in seconds of CPU and in steps of 255 of one channel."""

    size_px: tuple[int, int]
    before_s: float
    now_s: float
    worker_s: float
    mean_difference: float
    max_difference: int
    psnr_db: float


def photo(path: Path) -> None:
    """Write a JPEG with large shapes, fine detail and grain, as a phone's has."""
    shapes = Image.effect_mandelbrot(PHOTO_PX, (-2.2, -1.4, 0.9, 1.4), 60)
    light = Image.radial_gradient("L").resize(PHOTO_PX)
    grain = Image.effect_noise(PHOTO_PX, 12)
    image = Image.merge("RGB", [shapes, light, ImageChops.add(shapes, light, 2)])
    image = ImageChops.add(image, Image.merge("RGB", [grain] * 3), 1, -128)
    image.save(path, quality=88)


def qwen_processor(max_px: int) -> Callable[[Image.Image], Any]:
    """Return the part of Qwen2-VL's processor that makes a tensor of the right size."""
    environment.step_around_broken_extensions()
    import torch  # noqa: PLC0415 - takes seconds, and what stands above before it
    from transformers.image_utils import SizeDict  # noqa: PLC0415
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import (  # noqa: PLC0415
        Qwen2VLImageProcessor,
    )

    torch.set_num_threads(1)
    processor = Qwen2VLImageProcessor()
    size = SizeDict(shortest_edge=3136, longest_edge=max_px)
    return lambda image: processor.resize(
        processor.process_image(image), size, processor.resample, factor=28
    )


def cpu_s(run: Callable[[], object]) -> float:
    """Return the CPU that this process spends on a call, in seconds."""
    times = []
    for _ in range(NUM_RUNS):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def measure(path: Path, max_px: int) -> Row:
    """Measure one target."""
    process = qwen_processor(max_px)
    images = Images(image_root=path.parent, decoders=1)
    share = PixelShare(max_px=max_px, multiple_px=28)

    def before() -> Any:
        return process(Image.open(path).convert("RGB"))

    def now() -> Any:
        [image] = load_images(
            [path.name], root=path.parent, max_image_px=images.max_image_px, share=share
        )
        return process(image)

    expected, found = as_image(before()), as_image(now())
    assert expected.size == found.size, (expected.size, found.size)  # noqa: S101 - or nothing counts
    difference = ImageStat.Stat(ImageChops.difference(expected, found))
    return Row(
        size_px=found.size,
        before_s=cpu_s(before),
        now_s=cpu_s(now),
        worker_s=asyncio.run(worker_cpu_s(images, path.name, share)),
        mean_difference=sum(difference.mean) / 3,
        max_difference=max(high for _, high in difference.extrema),
        psnr_db=20 * math.log10(255 * math.sqrt(3) / math.hypot(*difference.rms)),
    )


async def worker_cpu_s(images: Images, reference: str, share: PixelShare) -> float:
    """Return what the worker process spends on an image that a decoder process decodes."""
    decoders = Decoders(images)
    await decoders.start()
    times = []
    for _ in range(NUM_RUNS + 1):
        began = time.process_time()
        await decoders.load([reference], share)
        times.append(time.process_time() - began)
    await decoders.stop()
    return min(times)


def as_image(tensor: Any) -> Image.Image:
    """Return a tensor of (3, height, width) as an image."""
    return Image.fromarray(tensor.permute(1, 2, 0).contiguous().numpy())


def table(rows: list[Row]) -> str:
    """Return the rows for people."""
    heads = "| to | before | now | times less | worker | mean difference | most | PSNR |"
    lines = [heads, "| ---: |" + " ---: |" * 7]
    lines += [
        f"| {row.size_px[0]} x {row.size_px[1]} | {1000 * row.before_s:.0f} ms "
        f"| {1000 * row.now_s:.0f} ms | {row.before_s / row.now_s:.1f} "
        f"| {1000 * row.worker_s:.1f} ms | {row.mean_difference:.2f} | {row.max_difference} "
        f"| {row.psnr_db:.0f} dB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure all targets and print them."""
    parser = argparse.ArgumentParser(description="CPU per 12-megapixel JPEG.")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "photo.jpg"
        photo(path)
        file_bytes = path.stat().st_size
        rows = [measure(path, max_px) for max_px in TARGETS_PX]
    where = {
        "machine": f"{platform.machine()} with {os.cpu_count()} cores",
        "python": platform.python_version(),
        "pillow": __version__,
        "file_bytes": file_bytes,
    }
    if arguments.json:
        sys.stdout.buffer.write(orjson.dumps({**where, "rows": [asdict(row) for row in rows]}))
    else:
        sys.stdout.write(", ".join(f"{name} {value}" for name, value in where.items()))
        sys.stdout.write(f"\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()
