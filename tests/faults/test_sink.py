"""The results: cut anywhere, killed around every step, on a disk that is full, broken, read-only."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from contextvqa.errors import SinkError
from contextvqa.settings import Sampling
from contextvqa.storage.run_directory import RunDirectory
from contextvqa.storage.sink import Line, Sink
from tests.faults.conftest import MakeWorld
from tests.faults.disk import POINTS, SmallDisk, fail_fsync, fail_write, kill_at_disk
from tests.faults.ledger import Ledger
from tests.faults.plan import Trial, trials
from tests.faults.processes import Child
from tests.faults.report import report
from tests.faults.tally import Tally
from tests.faults.world import RUN, World, entries
from tests.support import read_lines

#: Starts a refiner that meets a bad disk.
Way = Callable[[World, SmallDisk], Child]
SMALL_BYTES, LARGE_BYTES = 64 << 10, 16 << 20


def made_lines(make_world: MakeWorld, count: int) -> list[bytes]:
    """Return results as a real run writes them."""
    (trial,) = trials("sink-bytes", 1)
    with make_world(trial, entries(count)) as world:
        world.finish()
        return world.ledger.directory.results_path.read_bytes().splitlines(keepends=True)
    raise AssertionError(trial.failure)


def test_a_batch_that_was_cut_at_any_byte_is_whole_after_the_next_try(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    before, *batch = made_lines(make_world, 4)
    data = b"".join(batch)
    lines = [
        Line(key=line["meta"]["key"], data=raw, is_result=True)
        for raw, line in zip(batch, parsed(tmp_path, batch), strict=True)
    ]
    directory = RunDirectory(tmp_path, RUN)
    directory.begin("scripted", Sampling(), "input")
    for trial in trials("sink-bytes", len(data) + 1):
        directory.results_path.write_bytes(before + data[: trial.number])
        sink = Sink(directory)
        sink.append(lines)
        sink.close()
        keys = [line["meta"]["key"] for line in read_lines(directory.results_path)]
        assert keys[1:] == [line.key for line in lines], str(trial)
        report.note("sink-bytes")


def parsed(directory: Path, batch: list[bytes]) -> list[dict[str, dict[str, str]]]:
    """Return lines as what they say."""
    path = directory / "lines"
    path.write_bytes(b"".join(batch))
    return read_lines(path)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_or_a_power_failure_around_each_step_of_an_append_costs_no_line(
    make_world: MakeWorld, point: str
) -> None:
    for trial in trials("sink-order", 2):
        durable = Tally()
        with make_world(trial, entries(12)) as world:
            # Given generations, and a refiner that dies at that point
            assert world.producer().wait() == 0
            assert world.worker("--burst").wait() == 0
            refiner = world.refiner("--burst", patches=[kill_at_disk(point, durable)])
            assert refiner.wait() == (0 if point == "after-settle" else -signal.SIGKILL)
            world.note_fault()

            # When the machine loses what was not synced
            if trial.number == 1:
                os.truncate(world.ledger.directory.results_path, durable.value)

            # Then the next refiner needs no help from the producer
            assert world.refiner("--burst").wait() == 0
            world.make_other_attempts()
            world.settle_accounts()


def test_a_bad_disk_stops_the_refiner_and_a_good_one_lets_it_go_on(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    ways: tuple[Way, ...] = (
        fill,
        lambda world, _: world.refiner(patches=[fail_fsync(world.trial.random.randrange(3))]),
        freeze,
        lambda world, _: world.refiner(
            patches=[fail_write(world.trial.random.randrange(3), errno.EROFS)]
        ),
    )
    for trial in trials("sink-disk"):
        with (
            SmallDisk(tmp_path / f"disk-{trial.number}", SMALL_BYTES) as disk,
            world_on(disk, make_world, trial) as world,
        ):
            # Given a disk that gives in while the refiner works
            assert world.producer().wait() == 0
            assert world.worker("--burst").wait() == 0
            refiner = ways[trial.number % len(ways)](world, disk)
            assert refiner.wait() == SinkError.exit_code, refiner.words()
            world.note_fault()
            assert not world.ledger.check_quiet(world.connection)

            # When it is mended, then all goes on
            disk.resize(LARGE_BYTES)
            world.finish()


def world_on(disk: SmallDisk, make_world: MakeWorld, trial: Trial) -> World:
    """Return a world whose run lies on that disk."""
    records = entries(120)
    world = make_world(trial, records)
    world.runs_dir = disk.directory / "runs"
    world.patches = [disk.enter]
    world.ledger = Ledger(disk.seen_from_here / "runs", RUN, records)
    return world


def fill(world: World, disk: SmallDisk) -> Child:
    """Let the disk run full: 120 lines are more than it has room for."""
    assert disk
    return world.refiner()


def freeze(world: World, disk: SmallDisk) -> Child:
    """Remount it read-only, as after an error of the device."""
    disk.set_read_only(SMALL_BYTES)
    return world.refiner()
