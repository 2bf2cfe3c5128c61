"""Processes that replay: answers in order, and an end to everything when one of them dies."""

from multiprocessing import active_children

import orjson
import pytest

from contextvqa.errors import IncompleteError, Reason, RunError
from contextvqa.gates import Quality
from contextvqa.records import ImageRecord, Rejection
from contextvqa.run_config import RunConfig
from contextvqa.settings import Sampling
from refiner.replay.processes import ReplayProcesses
from refiner.replay.replaying import Item, Replay

ORIGIN = RunConfig.new("old", "m", Sampling())
REPLAY = Replay(ORIGIN, ORIGIN.reparsed("new", Quality()))


def item(number: int) -> Item:
    record = ImageRecord(
        run="old",
        key=f"{number:032x}",
        id=number,
        image=("a.png",),
        prompt_digest="0123456789abcdef",
    )
    rejection = Rejection(
        record=record, stage="generate", reason=Reason.IMAGE_NOT_FOUND, message="gone"
    )
    return Item(rejection.to_line())


def test_answers_come_in_the_order_of_the_chunks_whoever_makes_them() -> None:
    chunks = [[item(2 * number), item(2 * number + 1)] for number in range(20)]

    with ReplayProcesses(REPLAY, 2) as processes:
        answers = list(processes.replay(chunks))

    ids = [orjson.loads(line.data)["id"] for answer in answers for line in answer.lines]
    assert ids == list(range(40))
    assert active_children() == []


def test_a_line_that_is_no_record_is_named_by_whoever_asked() -> None:
    strange = Item(orjson.dumps({"meta": {"key": "ab"}}))

    with (
        pytest.raises(RunError, match="the line of key ab is none of this pipeline"),
        ReplayProcesses(REPLAY, 1) as processes,
    ):
        list(processes.replay([[item(1)], [strange], [item(2)]]))

    assert active_children() == []


def test_when_a_process_dies_nobody_waits_for_it() -> None:
    with ReplayProcesses(REPLAY, 2) as processes:
        for child in active_children():
            child.kill()
            child.join()

        with pytest.raises(IncompleteError, match="a process that replays died"):
            list(processes.replay([[item(number)] for number in range(9)]))

    assert active_children() == []
