"""The generate stage, with an engine that notes what it is asked."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from contextvqa.errors import ImageError, RestartError, RunError
from contextvqa.queueing.job_hash import Execution, StoredJob
from contextvqa.queueing.outcomes import Claim, Finished
from contextvqa.queueing.queues import OrjsonSerializer
from contextvqa.records import Generation, ImageRecord, derive_seed, from_payload, to_payload
from contextvqa.run_config import RunConfig
from contextvqa.settings import Engine, Guards, Images, Sampling
from tests.support import DecodesHere
from worker.decoders import Decoders
from worker.engine import Written
from worker.pixel_budget import PixelShare
from worker.stage import Generate

RECORD = ImageRecord(
    run="r", key="ab", id=1, image=("a.png", "b.png"), prompt_digest="0123456789abcdef", attempt=2
)


class NotingEngine:
    """Writes the same text always."""

    model = "m"

    def __init__(self) -> None:
        self.options = Engine()
        self.asked: dict[str, Any] = {}
        self.num_checks = 0
        self.shared: tuple[Any, ...] = ()

    def check(self) -> None:
        self.num_checks += 1

    async def share_of_image(self, *asked: Any, max_record_px: int) -> PixelShare:
        self.shared = (*asked, max_record_px)
        return PixelShare(max_px=2000)

    async def generate(self, **asked: Any) -> Written:
        self.asked = asked
        return Written(text="text", finish_reason="length", prompt_tokens=7, output_tokens=8)


def execute(engine: NotingEngine, root: Path, *, model: str = "m") -> Generation:
    config = RunConfig.new("r", model, Sampling(temperature=0.3))
    runs = SimpleNamespace(remembered=lambda _: None, prompt_of=lambda _: (config, "Write."))
    images = Images(image_root=root, max_record_px=9999)
    stage = Generate(engine, DecodesHere(images), runs, images=images, guards=Guards())
    data = OrjsonSerializer.dumps(["worker.generate", None, [], {"record": to_payload(RECORD)}])
    job = StoredJob(
        "r-ab-generate", data, crash_count=2, retry_count=0, enqueued_at=time.time() - 60
    )
    claim = Claim(job=job, execution=Execution(job.id, "e1"))
    outcome = asyncio.run(stage.execute(claim, RECORD))
    assert isinstance(outcome, Finished)
    (follow_up,) = outcome.follow_ups
    assert (follow_up.queue, follow_up.id) == ("refine", "r-ab-refine")
    return from_payload(follow_up.arguments["generation"], Generation)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    Image.new("L", (50, 60)).save(tmp_path / "b.png")
    return tmp_path


def test_the_engine_gets_the_images_in_order_the_runs_prompt_and_the_attempts_own_seed(
    root: Path,
) -> None:
    engine = NotingEngine()

    generation = execute(engine, root)

    assert [image.size for image in engine.asked["images"]] == [(40, 30), (40, 48)]
    assert {image.mode for image in engine.asked["images"]} == {"RGB"}
    assert engine.asked["prompt"] == "Write."
    assert engine.asked["sampling"].temperature == 0.3
    assert engine.asked["seed"] == generation.seed == derive_seed("ab", 2)


def test_the_images_get_what_the_engine_has_room_for(root: Path) -> None:
    engine = NotingEngine()

    execute(engine, root)

    assert engine.shared == ("Write.", Sampling(temperature=0.3), 2, 9999)
    assert all(image.width * image.height <= 2000 for image in engine.asked["images"])


def test_the_generation_says_how_it_was_made(root: Path) -> None:
    generation = execute(NotingEngine(), root)

    assert generation.record == RECORD
    assert (generation.text, generation.finish_reason) == ("text", "length")
    assert (generation.prompt_tokens, generation.output_tokens) == (7, 8)
    assert generation.model == "m"
    assert generation.image_s >= 0
    assert generation.engine_s >= 0
    assert 60 <= (generation.queue_s or 0) < 3600
    assert generation.crashes == 2


def test_a_run_that_asks_for_another_model_stops_the_worker_and_not_the_record(root: Path) -> None:
    engine = NotingEngine()

    with pytest.raises(RunError, match="asks for model 'other' and this worker has 'm'"):
        execute(engine, root, model="other")

    assert engine.asked == {}


def test_a_missing_image_rejects_the_record_before_the_engine_sees_it(root: Path) -> None:
    engine = NotingEngine()
    (root / "b.png").unlink()

    with pytest.raises(ImageError, match=r"b\.png"):
        execute(engine, root)

    assert engine.asked == {}


def test_a_check_looks_at_the_engine_and_at_the_memory_of_the_workers_processes() -> None:
    engine = NotingEngine()

    def check(guards: Guards) -> None:
        images = Images()
        runs = SimpleNamespace()
        Generate(engine, Decoders(images, num_cores=1), runs, images=images, guards=guards).check()

    check(Guards(max_memory_gb=1000))
    with pytest.raises(RestartError, match=r"is above --max-memory-gb 0\.001$"):
        check(Guards(max_memory_gb=0.001))

    assert engine.num_checks == 2
