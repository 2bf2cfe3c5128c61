"""What the real renderer makes of both orders of the user's turn."""

import subprocess
import sys

import orjson
import pytest

from tests.support import FLAGS, ROOT, clean_environment

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

#: In a process of its own, as vLLM leaves much behind. Prints each prompt with the image token once.
SCRIPT = """
import asyncio, itertools, sys
from types import SimpleNamespace
import orjson
from PIL import Image
from contextvqa.settings import Engine as Options, Sampling
from worker.engine import Engine

engine = Engine(sys.argv[1], Options(max_model_len=1024), stall_timeout_s=1)
arguments = engine.arguments()
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.renderers import renderer_from_config
renderer = renderer_from_config(AsyncEngineArgs(**arguments).create_engine_config())
engine._llm = SimpleNamespace(renderer=renderer)

async def prompt(order):
    image = Image.new("RGB", (56, 56))
    rendered = await engine._render([image], "Write.", Sampling(prompt_order=order))
    ids = [token for token, _ in itertools.groupby(rendered["prompt_token_ids"])]
    return renderer.tokenizer.decode(ids)

prompts = {order: asyncio.run(prompt(order)) for order in ("image-first", "text-first")}
print(orjson.dumps(prompts).decode())
"""


def test_the_models_own_template_puts_image_and_text_in_the_order_that_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(FLAGS / "model")],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    prompts = orjson.loads(done.stdout.splitlines()[-1])
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert f"user\n{image}Write.<|im_end|>" in prompts["image-first"]
    assert f"user\nWrite.{image}<|im_end|>" in prompts["text-first"]
    assert all(prompt.endswith("assistant\n") for prompt in prompts.values())
