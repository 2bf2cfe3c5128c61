"""
The real worker, which notes what its engine has after each step: `noting_worker FILE ARGUMENTS`.

FILE gets a line a step: how many requests run, and how many vLLM has altogether.
"""

import sys
from typing import Any, TextIO
from unittest import mock

import worker.command
from contextvqa import cli
from worker.capacity import Capacity
from worker.engine import Engine


class NotingCapacity(Capacity):
    """Writes down what it is told."""

    def __init__(self, engine: "NotingEngine", file: TextIO) -> None:
        super().__init__()
        self._engine = engine
        self._file = file

    def note_step(self, num_running: int) -> None:
        super().note_step(num_running)
        self._file.write(f"{num_running} {self._engine.num_requests}\n")


class NotingEngine(Engine):
    """The real one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._capacity = NotingCapacity(self, steps)

    @property
    def num_requests(self) -> int:
        return len(self._llm.output_processor.request_states)


if __name__ == "__main__":
    with (
        open(sys.argv[1], "a", buffering=1) as steps,  # noqa: PTH123 - each line at once
        mock.patch.object(worker.command, "VLLMEngine", NotingEngine),
    ):
        sys.exit(cli.main(["worker", *sys.argv[2:]]))
