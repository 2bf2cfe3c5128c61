"""A worker with two decoders, which says so and waits: a test kills it."""

import asyncio
import sys
from pathlib import Path

from contextvqa.settings import Images
from worker.decoders import Decoders
from worker.pixel_budget import PixelShare


async def main(root: Path, references: list[str]) -> None:
    """Have both decoders work on these images, if there are any, and never end."""
    pool = Decoders(Images(image_root=root, decoders=2), num_cores=1)
    await pool.start()
    share = PixelShare(max_px=20_000)
    await asyncio.gather(*(pool.load(["b.png"], share) for _ in range(2)))
    tasks = [asyncio.create_task(pool.load(references, share)) for _ in range(2) if references]
    await asyncio.sleep(0)
    print("decoding", flush=True)  # noqa: T201 - what the test waits for
    await asyncio.gather(*tasks)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
