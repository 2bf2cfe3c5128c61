"""
The decoder processes of a worker: each has one record at a time, and may die of it.

They are processes because decoding on threads takes the interpreter from vLLM's front end, and
because a decoder written in C that meets a hostile file may take its process along. Each is
separate, so that it takes nothing else: a pool that shares a queue breaks as a whole.
"""

import asyncio
import contextlib
import logging
import mmap
import os
import sys
from collections.abc import Sequence
from typing import Protocol

import msgspec
from PIL import Image

from contextvqa.errors import ImageError, RecordError, TransientError
from contextvqa.processes.children import ending
from contextvqa.settings import Images
from worker.decoding import CONFINED, RGB_BYTES, Answer, Failed, Request
from worker.pixel_budget import PixelShare, Size

log = logging.getLogger("contextvqa")

#: Decoder processes at most, unless `--decoders` says otherwise: one feeds some 10 images/s.
MAX_DECODERS = 8
#: Seconds for the images of one record. A network file system that hangs does so for ever.
DECODE_TIMEOUT_S = 60.0
#: Seconds that a killed decoder gets to be gone: one that hangs in the kernel may never be.
KILL_PATIENCE_S = 5.0
#: Environment of a decoder.
SETTINGS = {
    # The cores have a decoder each.
    "VIPS_CONCURRENCY": "1",
    # Otherwise glibc gives the pixels of each image back to the kernel, which then clears as many
    # pages for the next one: a seventh of the CPU. Larger images still go back.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}

_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class ImageLoader(Protocol):
    """What the generate stage has its images from."""

    async def start(self) -> None:
        """Get ready."""

    async def load(self, references: Sequence[str], share: PixelShare) -> list[Image.Image]:
        """Return the images of one record as `worker.images.load_images` does."""

    async def stop(self) -> None:
        """Release what `start` took."""


class Decoders:
    """As many decoder processes as were asked for. Records wait for one in the order they came."""

    def __init__(self, images: Images, *, num_cores: int) -> None:
        number = images.decoders or default_decoders(num_cores)
        self._decoders = [Decoder(images) for _ in range(number)]
        self._idle: asyncio.Queue[Decoder] = asyncio.Queue()
        for decoder in self._decoders:
            self._idle.put_nowait(decoder)

    async def start(self) -> None:
        """Start them all, and do not wait until they are up."""
        for decoder in self._decoders:
            await decoder.start()

    async def load(self, references: Sequence[str], share: PixelShare) -> list[Image.Image]:
        """
        Return the images of one record, decoded as `worker.images.load_images` does.

        Raises:
            ImageError: As there.
            TransientError: As there; also when the decoder died or took too long. Its successor
                gets the next record; this one may be tried again.

        """
        decoder = await self._idle.get()
        try:
            return await decoder.load(references, share)
        finally:
            self._idle.put_nowait(decoder)

    async def stop(self) -> None:
        """End them all."""
        for decoder in self._decoders:
            await decoder.stop()


class Decoder:
    """One decoder process, and its successor when it dies."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._process: asyncio.subprocess.Process | None = None
        self._pixels: mmap.mmap | None = None

    async def start(self) -> None:
        """Start the process, with memory of its own to share."""
        descriptor = os.memfd_create("decoded images")
        try:
            os.ftruncate(descriptor, RGB_BYTES * self._images.max_record_px)
            self._pixels = mmap.mmap(descriptor, 0)
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "worker.decoder"),
                *(str(descriptor), self._images.image_root, str(self._images.max_image_px)),
                *([CONFINED] if self._images.confine_images else []),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=[descriptor],
                # It finds what we find, and not the hooks that vLLM's processes get.
                env=os.environ | SETTINGS | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        finally:
            os.close(descriptor)

    async def load(self, references: Sequence[str], share: PixelShare) -> list[Image.Image]:
        """Return the images of one record. Raises as `Decoders.load` does; one call at a time."""
        request = Request(references=tuple(references), share=share)
        try:
            async with asyncio.timeout(DECODE_TIMEOUT_S):
                answer = await self._ask(request)
        except TimeoutError as error:
            await self.stop()
            message = f"images {list(references)} are not decoded after {DECODE_TIMEOUT_S:.0f} s."
            raise TransientError(message) from error
        except BaseException:
            # Its answer, if it still comes, must not be taken for that to another request.
            await self.stop()
            raise
        if isinstance(answer, Failed):
            raise _error(answer)
        return self._take(answer.sizes_px)

    async def stop(self) -> None:
        """Kill the process, which has nothing to lose."""
        process, self._process = self._process, None
        if process is None:
            return
        assert self._pixels is not None  # noqa: S101 - they begin and end together
        self._pixels.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), KILL_PATIENCE_S)

    async def _ask(self, request: Request) -> Answer:
        if self._process is not None and self._process.returncode is not None:
            await self.stop()  # killed while it was idle: that is no record's fault
        if self._process is None:
            await self.start()
        process = self._process
        assert process is not None  # noqa: S101 - just started
        assert process.stdin is not None  # noqa: S101 - a pipe
        assert process.stdout is not None  # noqa: S101
        line = b""
        with contextlib.suppress(ConnectionError):  # It died: so it gives no answer either.
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        if line.endswith(b"\n"):
            return _answers.decode(line)
        how = ending(await process.wait())
        message = f"the decoder {how} while it had images {list(request.references)}."
        log.warning("%s", message)
        raise TransientError(message)

    def _take(self, sizes_px: Sequence[Size]) -> list[Image.Image]:
        """Copy the images out of the shared memory: the next ones overwrite them."""
        assert self._pixels is not None  # noqa: S101 - the process has just written to it
        images, begin = [], 0
        with memoryview(self._pixels) as pixels:
            for width, height in sizes_px:
                end = begin + RGB_BYTES * width * height
                images.append(Image.frombytes("RGB", (width, height), pixels[begin:end]))
                begin = end
        return images


def default_decoders(num_cores: int) -> int:
    """Return how many decoder processes a worker has cores for, with one left to its engine."""
    return max(1, min(MAX_DECODERS, num_cores - 1))


def _error(failed: Failed) -> RecordError:
    if failed.reason is None:
        return TransientError(failed.message)
    return ImageError(failed.reason, failed.message)
