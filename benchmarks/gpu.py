"""
GPU: how many records per second an engine of the default model's size writes, by who feeds it.

The model has the shape of Qwen2.5-VL-3B-Instruct and weights that vLLM makes up, so that every text
is as long as it may be; no model needs to be downloaded, and no text means anything. Images are JPEGs
of 1.2 megapixels, of which the model keeps 1,280 tokens. `async_llm` is a bare loop around the engine
whose images are open before the clock starts; `contextvqa` the real `contextvqa run`, with image
decoding, queue, refiner and lines on disk (`benchmarks.feed` says more of both).

Needs a GPU with some 40 GB, so it is not among those that `python -m benchmarks` runs.
"""

from pathlib import Path

import orjson

from benchmarks import large_model
from benchmarks.command import OUTPUT, main
from benchmarks.feed import METRICS, Offline, Ours, Work
from benchmarks.feeds.program import Model
from benchmarks.figures import Benchmark, Contender
from benchmarks.images import photo
from contextvqa.settings import Engine
from worker.gpus import choose

#: Eight times what the engine runs at once.
NUM_RECORDS = 2048
NUM_PHOTOS = 64
PHOTO_PX = (1280, 960)
MODEL = Model(
    path=(OUTPUT / "qwen2.5-vl-3b-without-weights").resolve(),
    options=Engine(engine=("max_num_seqs=256", "load_format=dummy")),
)


def draw(count: int, directory: Path) -> Path:
    """Write the model, some photos, and an input with so many records of them."""
    choose("all")  # refuses a machine without a GPU before anything is drawn
    large_model.write(MODEL.path)
    directory = directory / "photos"
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"{number}.jpg" for number in range(NUM_PHOTOS)]
    for name in names:
        if not (directory / name).exists():
            photo(directory / name, PHOTO_PX)
    source = directory / f"{count}.json"
    rows = [{"id": number, "image": names[number % NUM_PHOTOS]} for number in range(count)]
    source.write_bytes(orjson.dumps(rows))
    return source


def contenders(scale: float) -> list[Contender]:
    """Return the bare loop and ours."""
    work = Work(num_records=max(1, round(NUM_RECORDS * scale)), model=MODEL, draw=draw)
    return [Offline("async_llm", "async_llm", work), Ours("contextvqa", work)]


BENCHMARK = Benchmark(
    name="gpu",
    title="An engine of the default model's size on a GPU, fed by a bare loop and by us",
    metrics=METRICS,
    contenders=contenders,
)

if __name__ == "__main__":
    main(BENCHMARK)
