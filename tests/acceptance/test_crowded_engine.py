"""A real engine whose KV cache holds far fewer requests than it has slots."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import redis

from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from tests.second_host import in_turn
from tests.support import FLAGS, ROOT, clean_environment, run_contextvqa, wait_until

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

#: Blocks of 128 tokens, of which a record takes three.
NUM_BLOCKS = 33
NUM_SLOTS = 128
NUM_RECORDS = 480


def test_few_more_reach_the_engine_than_it_runs_and_it_hardly_ever_waits_for_them(
    connection: redis.Redis, redis_url: str, runs_dir: Path, tmp_path: Path
) -> None:
    # Given many records, and an engine with room for few of them
    rows = orjson.loads((FLAGS / "sample_data.json").read_bytes())
    source = tmp_path / "in.json"
    source.write_bytes(orjson.dumps([rows[n % 48] | {"id": n} for n in range(NUM_RECORDS)]))
    shared = ["--model", FLAGS / "model", "--redis-url", redis_url]
    run = ("--run", "r", "--runs-dir", runs_dir)
    assert run_contextvqa("enqueue", source, *run, *shared).returncode == 0
    generate, refine = rq_queue(GENERATE, connection), rq_queue(REFINE, connection)
    steps = tmp_path / "steps"
    engine = (f"num_gpu_blocks_override={NUM_BLOCKS}", f"max_num_seqs={NUM_SLOTS}")
    command = [
        *(sys.executable, "-m", "tests.acceptance.noting_worker", steps),
        *("--image-root", FLAGS, "--max-model-len", 1024, "--drain-timeout-s", 0),
        *(part for argument in engine for part in ("--engine", argument)),
        *shared,
    ]
    log = tmp_path / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            in_turn(command),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=file,
            env=clean_environment(),
        ) as worker,
    ):
        try:
            # When it has written some, and then some more
            wait_until(lambda: worker.poll() is not None or refine.count >= 60, 300)
            num_before = len(steps.read_text().splitlines())
            wait_until(lambda: worker.poll() is not None or refine.count >= 160)
            lines = steps.read_text().splitlines()[num_before:]
            assert generate.count > 0, log.read_text()
        finally:
            worker.terminate()
    assert worker.returncode == 0, log.read_text()

    # Then it had few more than it runs at most, and nearly always some that waited for room
    ran, had = zip(*(map(int, line.split()) for line in lines), strict=True)
    assert max(ran) < NUM_SLOTS / 4
    assert max(had) <= 1.5 * max(ran) + 1
    num_waiting = [here - running for running, here in zip(ran, had, strict=True)]
    assert sum(number > 0 for number in num_waiting) >= 0.95 * len(lines)
