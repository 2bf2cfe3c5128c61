"""The generate stage: image and prompt in, generation out."""

import asyncio
import logging
import os
import time
from datetime import UTC, datetime

from contextvqa.errors import RunError
from contextvqa.processes.sessions import memory_bytes
from contextvqa.queueing.jobs import Content, refine_job
from contextvqa.queueing.outcomes import Claim, Finished, Outcome
from contextvqa.queueing.queues import GENERATE
from contextvqa.queueing.runs import Runs
from contextvqa.records import Generation, ImageRecord, derive_seed
from contextvqa.settings import Guards, Images
from worker.decoders import ImageLoader
from worker.engine import Engine
from worker.meter import GenerateMeter
from worker.watch import MemoryWatch
from worker.window import Window

log = logging.getLogger("contextvqa")


class Generate:
    """Owns the engine and its decoders; executes many records on them at once."""

    queue = GENERATE

    def __init__(
        self, engine: Engine, decoders: ImageLoader, runs: Runs, *, images: Images, guards: Guards
    ) -> None:
        self.engine = engine
        self.decoders = decoders
        self.runs = runs
        self.images = images
        self.meter = GenerateMeter()
        self._memory = MemoryWatch(guards.max_memory_gb, lambda: memory_bytes(os.getsid(0)))
        self._worker = ""
        self._window = Window(engine.options.max_in_flight)

    @property
    def max_in_flight(self) -> int:
        """
        What the window says.

        It bounds the decoded images too: no record beyond it is claimed, whatever the engine does.
        """
        return self._window.size(
            num_at_once=self.engine.num_at_once, num_slots=self.engine.max_num_seqs
        )

    async def start(self, worker: str) -> None:
        """Load the model; nothing else runs on the event loop yet."""
        self._worker = worker
        began = time.monotonic()
        log.info("loading: model %s", self.engine.model)
        # First, so that they are up when the model is, which takes this thread.
        await self.decoders.start()
        try:
            self.engine.start()
        except BaseException:
            await self.decoders.stop()
            raise
        log.info("loaded: model %s in %.1f s", self.engine.model, time.monotonic() - began)

    async def execute(self, claim: Claim, content: Content) -> Outcome:
        """Decode the images, generate, and hand the generation on to be refined."""
        assert isinstance(content, ImageRecord)  # noqa: S101 - what jobs of our queue carry
        record = claim.attempted(content)
        # On this thread where Redis need not be asked: a hop to another costs more than the answer.
        found = self.runs.remembered(record)
        if found is None:
            found = await asyncio.to_thread(self.runs.prompt_of, record)
        config, prompt = found
        if config.model != self.engine.model:
            raise RunError(
                f"run {record.run!r} asks for model {config.model!r} and this worker has "
                f"{self.engine.model!r}; give `enqueue` and `worker` the same --model"
            )
        sampling = config.sampling_of(record)
        share = await self.engine.share_of_image(
            prompt, sampling, len(record.image), max_record_px=self.images.max_record_px
        )
        with self.meter.decoding():
            images = await self.decoders.load(record.image, share)
        seed = derive_seed(record.key, record.attempt)
        asked_at = time.monotonic()
        self._window.note_arrival(asked_at - claim.claimed_at)
        with self.meter.asking():
            written = await self.engine.generate(
                images=images,
                prompt=prompt,
                sampling=sampling,
                seed=seed,
                request_id=claim.execution.id,
            )
        generation = Generation(
            record=record,
            text=written.text,
            finish_reason=written.finish_reason,
            prompt_tokens=written.prompt_tokens,
            output_tokens=written.output_tokens,
            seed=seed,
            model=self.engine.model,
            worker=self._worker,
            generated_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            image_s=round(asked_at - claim.claimed_at, 3),
            engine_s=round(time.monotonic() - asked_at, 3),
            queue_s=claim.queue_s,
            crashes=claim.job.crash_count,
        )
        self.meter.note(generation)
        return Finished(follow_ups=(refine_job(generation),))

    def check(self) -> None:
        """Look whether the engine works, and whether memory stays within bounds."""
        self.engine.check()
        self._memory.check()

    async def stop(self) -> None:
        """End the engine and the decoders."""
        await self.decoders.stop()
        self.engine.stop()
