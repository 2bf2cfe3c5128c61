"""
Images: CPU per 12-megapixel JPEG, from the file to the tensor that the model's processor cuts up.

`before` is `Image.open(path).convert("RGB")`, then the resize of Qwen2-VL's own processor, on one
thread. `now` is a decoder process with the share of pixels that the same processor would use, the
worker that takes its pixels, then the same processor, which finds nothing left to scale: the CPU of
both processes. Both ways end at the same size, so that the pixels can be compared: the differences are
in steps of 255 of one channel. `worker` is what of `now` the worker spends before the processor, and
`jpeg` what libjpeg alone takes at the scale that `now` decodes at. All of it at several sizes to end at,
each in a process that has done nothing else.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageChops, ImageStat

from benchmarks.command import OUTPUT, main
from benchmarks.figures import Benchmark, Contender, Metric
from benchmarks.processes import in_fresh_process
from contextvqa.settings import Images
from worker import environment
from worker.decoders import Decoders
from worker.pixel_budget import PixelShare, fit

#: A phone's photo.
PHOTO_PX = (4032, 3024)
#: Most pixels of an image: that of the flags model, 256 and 1,280 tokens, and `--max-record-px`.
TARGETS_PX = (12_544, 256 * 784, 1280 * 784, 2_000_000)
#: Runs of each per round. Their mean counts: some of them clear tens of megabytes of new pages, as
#: the C library has it, and those are paid for too.
NUM_RUNS = 10
BASELINE = "before"
#: What is measured at each size: name, and title.
QUANTITIES = {
    "cpu_ms": "CPU ms",
    "mean_difference": "mean difference",
    "max_difference": "largest difference",
    "psnr_db": "PSNR, dB",
}
METRICS = tuple(
    Metric(name=f"{name}_{max_px}_px", title=f"{title} to {max_px:,} px", baseline=BASELINE)
    for name, title in QUANTITIES.items()
    for max_px in TARGETS_PX
)


Measure = Callable[[Path, int, int], dict[str, float]]


class Way(Contender):
    """One way from the file to tensors of every size."""

    def __init__(self, name: str, measure_to: Measure, num_runs: int) -> None:
        """Take the function that measures one size: of a file, most pixels, number of runs."""
        self.name = name
        self.size = f"one photo, {num_runs} runs"
        self._measure_to = measure_to
        self._num_runs = num_runs
        self._path = OUTPUT / "photo.jpg"

    def prepare(self) -> None:
        """Draw the photo, once for all."""
        if not self._path.exists():
            photo(self._path, PHOTO_PX)

    def measure(self, directory: Path) -> Mapping[str, float]:  # noqa: ARG002 - leaves nothing
        """Go it to each size."""
        return {
            f"{name}_{max_px}_px": value
            for max_px in TARGETS_PX
            for name, value in in_fresh_process(
                self._measure_to, self._path, max_px, self._num_runs
            ).items()
        }


def photo(path: Path, size_px: tuple[int, int]) -> None:
    """Write a JPEG with large shapes, fine detail and grain, as a phone's has."""
    shapes = Image.effect_mandelbrot(size_px, (-2.2, -1.4, 0.9, 1.4), 60)
    light = Image.radial_gradient("L").resize(size_px)
    grain = Image.effect_noise(size_px, 12)
    image = Image.merge("RGB", [shapes, light, ImageChops.add(shapes, light, 2)])
    image = ImageChops.add(image, Image.merge("RGB", [grain] * 3), 1, -128)
    partial_path = path.with_suffix(".part")
    image.save(partial_path, "JPEG", quality=88)
    partial_path.replace(path)


def measure_before(path: Path, max_px: int, num_runs: int) -> dict[str, float]:
    """Return the CPU of the way without us."""
    return {"cpu_ms": mean_cpu_ms(partial(before, path, max_px), num_runs)}


def measure_now(path: Path, max_px: int, num_runs: int) -> dict[str, float]:
    """Return the CPU of our way, and how its pixels differ."""
    cpu_ms, found = asyncio.run(now(path, max_px, num_runs))
    expected = as_image(before(path, max_px))
    assert expected.size == found.size, (expected.size, found.size)  # noqa: S101 - or nothing counts
    difference = ImageStat.Stat(ImageChops.difference(expected, found))
    rms = math.hypot(*difference.rms)
    return {
        "cpu_ms": cpu_ms,
        "mean_difference": sum(difference.mean) / 3,
        "max_difference": max(high for _, high in difference.extrema),
        "psnr_db": 20 * math.log10(255 * math.sqrt(3) / rms) if rms else math.inf,
    }


def measure_worker(path: Path, max_px: int, num_runs: int) -> dict[str, float]:
    """Return the CPU that the worker process spends on an image that a decoder decodes."""
    return {"cpu_ms": asyncio.run(worker_cpu_ms(path, max_px, num_runs))}


def measure_jpeg(path: Path, max_px: int, num_runs: int) -> dict[str, float]:
    """Return the CPU of libjpeg alone, at the scale that our way decodes at."""
    return {"cpu_ms": mean_cpu_ms(partial(unpack, path, max_px), num_runs)}


def before(path: Path, max_px: int) -> Any:
    """Return the tensor that the processor makes of the whole image."""
    return qwen_processor(max_px)(Image.open(path).convert("RGB"))


async def now(path: Path, max_px: int, num_runs: int) -> tuple[float, Image.Image]:
    """Return the CPU of our way, decoder process and this one, and the pixels at its end."""
    processor = qwen_processor(max_px)
    async with one_decoder(path) as (decoders, decoder_cpu_s):
        [image] = await decoders.load([path.name], share_of(max_px))
        found = as_image(processor(image))
        began_s = time.process_time() + decoder_cpu_s()
        for _ in range(num_runs):
            # As in a worker, the next image is there before the last one is dropped.
            [image] = await decoders.load([path.name], share_of(max_px))
            processor(image)
        took_s = time.process_time() + decoder_cpu_s() - began_s
    return 1000 * took_s / num_runs, found


async def worker_cpu_ms(path: Path, max_px: int, num_runs: int) -> float:
    """Let one decoder load the image again and again."""
    async with one_decoder(path) as (decoders, _):
        await decoders.load([path.name], share_of(max_px))  # warms it
        began_s = time.process_time()
        for _ in range(num_runs):
            await decoders.load([path.name], share_of(max_px))
        took_s = time.process_time() - began_s
    return 1000 * took_s / num_runs


def unpack(path: Path, max_px: int) -> None:
    """Decode at the least scale that is not below the size to end at."""
    with Image.open(path) as image:
        image.draft(None, fit(image.size, share_of(max_px)))
        image.load()


@asynccontextmanager
async def one_decoder(path: Path) -> AsyncIterator[tuple[Decoders, Callable[[], float]]]:
    """Run one decoder process for the image's directory; yield what asks it, and what its CPU is."""
    decoders = Decoders(Images(image_root=path.parent, decoders=1), num_cores=1)
    await decoders.start()
    children = psutil.Process().children()
    [pid] = [child.pid for child in children if "worker.decoder" in child.cmdline()]
    # Linux: the clock of a process's CPU time, which unlike /proc counts no 10 ms ticks.
    clock = (~pid << 3) | 2
    try:
        yield decoders, partial(time.clock_gettime, clock)
    finally:
        await decoders.stop()


def share_of(max_px: int) -> PixelShare:
    """Return what a worker computes for Qwen's processors."""
    return PixelShare(max_px=max_px, multiple_px=28)


@cache
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


def mean_cpu_ms(run: Callable[[], object], num_runs: int) -> float:
    """Return the CPU that this process spends on a call; the first one warms it."""
    run()
    began = time.process_time()
    for _ in range(num_runs):
        run()
    return 1000 * (time.process_time() - began) / num_runs


def as_image(tensor: Any) -> Image.Image:
    """Return a tensor of (3, height, width) as an image."""
    return Image.fromarray(tensor.permute(1, 2, 0).contiguous().numpy())


def contenders(scale: float) -> list[Contender]:
    """Return both ways, and two parts of ours."""
    num_runs = max(1, round(NUM_RUNS * scale))
    return [
        Way("before", measure_before, num_runs),
        Way("now", measure_now, num_runs),
        Way("worker", measure_worker, num_runs),
        Way("jpeg", measure_jpeg, num_runs),
    ]


BENCHMARK = Benchmark(
    name="images",
    title="A photo on its way to the model: CPU, and what becomes of its pixels",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
