"""
One decoder process: the images of one record at a time, into memory that the worker shares.

    python -m worker.decoder DESCRIPTOR IMAGE_ROOT MAX_IMAGE_PX [confined]

One request a line on standard input, one answer a line on standard output. It ends with the worker,
however that ends.

It loads what opens, decodes and scales images, never the engine: it is cheap enough to be thrown
away.
"""

import mmap
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from PIL import Image

from contextvqa.errors import RecordError, RejectError
from contextvqa.processes.parent import ask_for_signal
from worker.decoding import CONFINED, Answer, Decoded, Failed, Request
from worker.images import load_images

#: `load_images` with all but the request.
Load = Callable[..., Sequence[Image.Image]]

#: Characters kept of an error's text, which may quote a reference of any length.
MAX_MESSAGE_CHARS = 2000


def answer(request: Request, pixels: mmap.mmap, load: Load) -> Answer:
    """Decode the images of a record into the shared memory."""
    try:
        images = load(request.references, share=request.share)
    except RecordError as error:
        reason = error.reason if isinstance(error, RejectError) else None
        return Failed(message=str(error)[:MAX_MESSAGE_CHARS], reason=reason)
    pixels.seek(0)
    for image in images:
        pixels.write(image.tobytes())
    return Decoded(sizes_px=tuple(image.size for image in images))


def main(descriptor: int, load: Load) -> None:
    """Answer requests until standard input ends, or the worker."""
    # In the middle of a file that hangs nobody reads the end of standard input.
    ask_for_signal(signal.SIGKILL)
    # A terminal's Ctrl-C reaches the whole process group, and the worker still needs us to drain.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # libtiff prints: that must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = msgspec.json.Decoder(Request)
    with mmap.mmap(descriptor, 0) as pixels:
        os.close(descriptor)  # mapped memory has one of its own
        for line in sys.stdin.buffer:
            made = answer(requests.decode(line), pixels, load)
            answers.write(msgspec.json.encode(made) + b"\n")


if __name__ == "__main__":
    descriptor, root, max_image_px, *flags = sys.argv[1:]
    load = partial(
        load_images,
        root=Path(root),
        is_confined=flags == [CONFINED],
        max_image_px=int(max_image_px),
    )
    main(int(descriptor), load)
