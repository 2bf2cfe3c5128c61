"""Decoder processes that are killed: whatever they had is tried again, and nothing else notices."""

import dataclasses
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from contextvqa.errors import Reason
from tests.faults.conftest import MakeWorld
from tests.faults.ledger import Entry
from tests.faults.plan import trials
from tests.faults.processes import Child
from tests.faults.world import COLOURS, entries, entry, wait_for
from tests.support import DECODER_HOOK

#: Kills in one trial: no more than the tries of a record that is hit by all of them.
NUM_KILLS = 3
#: Side of images that take so long that a kill mostly hits one.
SIDE_PX = 1500


def large_entries(images: Path, count: int) -> list[Entry]:
    """Return good records with images that take a while to decode."""
    for name, colour in COLOURS.items():
        path = images / f"large-{name}"
        if not path.exists():
            Image.new("RGB", (SIDE_PX, SIDE_PX), colour).save(path)
    return [dataclasses.replace(good, image=f"large-{good.image}") for good in entries(count)]


def decoders(worker: Child) -> list[psutil.Process]:
    """Return the decoder processes of a worker; none when it is gone."""
    try:
        children = psutil.Process(worker.pid).children()
        return [child for child in children if "worker.decoder" in child.cmdline()]
    except psutil.Error:
        return []


def test_killed_decoders_cost_a_try_and_a_file_that_kills_them_costs_itself(
    make_world: MakeWorld, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DECODER_HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    for trial in trials("decoder"):
        records = large_entries(images, 30)
        poison = entry("poison", "segfault", reasons=[Reason.RETRIES_EXHAUSTED])
        records.insert(trial.random.randrange(len(records)), poison)
        with make_world(trial, records) as world:
            world.decodes_apart = True
            world.worker_flags = ("--decoders", 2)
            daemons = worker, _ = world.worker(), world.refiner()
            assert world.producer().wait() == 0
            for _ in range(NUM_KILLS):
                wait_for(lambda world=world: world.count_in_flight() or world.is_complete())
                wait_for(lambda worker=worker: decoders(worker))
                time.sleep(trial.random.uniform(0, 0.2))
                victims = decoders(worker)
                if victims:
                    world.note_fault()
                    trial.random.choice(victims).kill()
            world.finish(daemons)
            assert all(child.poll() == 0 for child in daemons), "a daemon was replaced"
