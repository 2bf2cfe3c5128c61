"""A record judged again by what its line tells: line in, line out, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson

from contextvqa.errors import RejectError, RunError
from contextvqa.records import EarlierAttempt, Generation, Rejection
from contextvqa.run_config import RunConfig
from contextvqa.storage.sink import Line
from refiner.conclusion import Ending, best, ending_of, fault_of, line_of
from refiner.replay.comparison import Comparison
from refiner.replay.recorded import Recorded, RunLine, read_line


class Item(NamedTuple):
    """One line to replay."""

    line: bytes
    #: What a replay that was interrupted made of it already.
    replayed: bytes | None = None


class Answer(NamedTuple):
    """What came of some items."""

    #: The lines that are new, in order.
    lines: list[Line]
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Replay:
    """Judges lines of one run as another run judges: what processes are given to do."""

    origin: RunConfig
    config: RunConfig

    def __call__(self, items: Sequence[Item]) -> Answer:
        """
        Replay lines.

        Raises:
            RunError: One is no line of this pipeline.

        """
        answer = Answer([], Comparison())
        for item in items:
            old: RunLine = orjson.loads(item.line)
            recorded = self._read(old)
            data = item.replayed
            if data is None:
                line = replay(recorded, self.config)
                answer.lines.append(line)
                data = line.data
            answer.comparison.add(old, orjson.loads(data))
            answer.comparison.lost += recorded.num_lost
            answer.comparison.partial += recorded.num_partial
        return answer

    def _read(self, line: RunLine) -> Recorded:
        try:
            return read_line(line, self.origin)
        except (RejectError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"run {self.origin.run!r}: the line of key {line['meta']['key']} is none of this "
                f"pipeline ({type(error).__name__}: {error}); repair or remove it."
            ) from error


def replay(recorded: Recorded, config: RunConfig) -> Line:
    """
    Return the line of a record as a run concludes it that has these attempts and no others.

    Pure. Nobody is asked for another attempt: the best of those that there are wins.
    """
    endings: list[Ending] = []
    earlier: tuple[EarlierAttempt, ...] = ()
    row = replace(recorded.record, run=config.run)
    for number, attempt in recorded.written:
        generation = Generation.of(replace(row, attempt=number, earlier=earlier), attempt)
        endings.append(ending_of(generation, config))
        earlier = generation.next_record(fault_of(endings[-1]).reason).earlier
    if (failed := recorded.failed) is not None:
        endings.append(
            Rejection(
                record=replace(row, attempt=failed.attempt, earlier=earlier),
                stage=failed.stage,
                reason=failed.reason,
                message=failed.message,
                failed=failed.failed,
            )
        )
    return line_of(best(endings))
