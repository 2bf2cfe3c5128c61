"""
The real worker on a host with GPUs that are none: `gpu_worker DIRECTORY ARGUMENTS`.

Its engines are scripted. Each starts a process, as vLLM does, and notes in DIRECTORY what it sees: a
file of its GPUs' name gets the worker process and the engine process, a line for each start.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import worker.command
from contextvqa import cli
from contextvqa.processes import post
from tests.faults.engine import Script, ScriptedEngine
from tests.support import DecodesHere
from worker import environment

directory = Path(sys.argv[1])


class EngineOnGPUs(ScriptedEngine):
    """Writes slowly enough to be killed in between; one on $BROKEN_GPU dies as it loads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        script = Script(latency_s=(0.1, 0.4), max_num_seqs=8)
        super().__init__(*arguments, **options, script=script)

    def start(self) -> None:
        gpus = os.environ["CUDA_VISIBLE_DEVICES"]
        self._core = subprocess.Popen(["sleep", "1000"])
        with (directory / gpus).open("a") as file:
            file.write(f"{os.getpid()} {self._core.pid}\n")
        if gpus == os.environ.get("BROKEN_GPU"):
            os.kill(os.getpid(), signal.SIGKILL)

    def stop(self) -> None:
        self._core.kill()
        self._core.wait()


if __name__ == "__main__":
    with (
        mock.patch.object(worker.command, "VLLMEngine", EngineOnGPUs),
        mock.patch.object(worker.command, "Decoders", DecodesHere),
        mock.patch.object(environment, "is_cpu_build", return_value=False),
        mock.patch.object(post, "RESTART_WAIT_S", 0.1),
    ):
        sys.exit(cli.main(["worker", *sys.argv[2:]]))
