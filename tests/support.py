"""Helpers of several tests: the real command, real files, and waiting for conditions."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import redis
from PIL import Image

from contextvqa.queueing.roles import Role
from contextvqa.records import Generation, ImageRecord
from contextvqa.settings import Images
from tests import second_host
from worker.images import load_images
from worker.pixel_budget import PixelShare

ROOT = Path(__file__).parents[1]
FLAGS = ROOT / "examples" / "flags"

#: As `sitecustomize.py` on sys.path, Python runs it when a decoder process starts: references then
#: do what they are named after.
DECODER_HOOK = """
import os, signal, time
from worker import images
from contextvqa.errors import TransientError

load_images = images.load_images

def load(references, **options):
    if "segfault" in references:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in references:
        time.sleep(3600)
    if "away" in references:
        raise TransientError("the network is away")
    return load_images(references, **options)

images.load_images = load
"""


class DecodesHere:
    """Stands for the decoder processes where nothing can go wrong with them: starts none."""

    def __init__(self, images: Images, *, num_cores: int = 1) -> None:  # noqa: ARG002 - the interface
        self.images = images

    async def start(self) -> None:
        """Nothing to start."""

    async def load(self, references: Sequence[str], share: PixelShare) -> list[Image.Image]:
        """Decode in this process."""
        return load_images(
            references,
            root=self.images.image_root,
            is_confined=self.images.confine_images,
            max_image_px=self.images.max_image_px,
            share=share,
        )

    async def stop(self) -> None:
        """Nothing to stop."""


#: Whose command is whose; all others are a watcher's.
ROLES = {
    "enqueue": Role.PRODUCER,
    "retry": Role.PRODUCER,
    "pause": Role.PRODUCER,
    "resume": Role.PRODUCER,
    "worker": Role.WORKER,
    "refiner": Role.REFINER,
    "dashboard": Role.DASHBOARD,
}


def url_for(command: str, url: str) -> str:
    """Return the URL of a server with the user of a command's role, unless it names one."""
    role = ROLES.get(command, Role.WATCHER)
    # Before the password, or the place.
    url = re.sub(r"://(?=:[^@]*@)", f"://{role}", url)
    return re.sub(r"://(?=[^@]*$)", f"://{role}@", url)


def in_its_role(arguments: Sequence[object]) -> list[str]:
    """Return a command's arguments with the user of its role in the URL of its server."""
    words = list(map(str, arguments))
    if "--redis-url" in words:
        place = words.index("--redis-url") + 1
        words[place] = url_for(words[0], words[place])
    return words


def set_password(url: str, password: str) -> None:
    """Give the users of all roles on a server this password, and no other."""
    with redis.Redis.from_url(url) as connection:
        for role in Role:
            connection.execute_command("ACL", "SETUSER", role, "resetpass", f">{password}")


def contextvqa(*arguments: object) -> list[str]:
    """Return the command line of a real `contextvqa` process."""
    return [sys.executable, "-m", "contextvqa", *in_its_role(arguments)]


def run_contextvqa(
    *arguments: object, cwd: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with the settings of this test alone."""
    command = second_host.in_turn(contextvqa(*arguments))
    with second_host.helping(arguments, clean_environment()) as environment:
        return subprocess.run(
            command,
            cwd=cwd,
            input=stdin.decode("utf-8", "surrogateescape"),
            errors="surrogateescape",
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start the command, to be ended by the test; its messages can be read."""
    command = second_host.in_turn(contextvqa(*arguments))
    with (
        second_host.helping(arguments, clean_environment()) as environment,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process,
    ):
        yield process


def clean_environment() -> dict[str, str]:
    """Return our environment without settings that a developer may have exported."""
    others = {
        name: value for name, value in os.environ.items() if not name.startswith("CONTEXTVQA_")
    }
    return others | second_host.SETTINGS | {"PYTHONPATH": str(ROOT)}


def generation_of(record: ImageRecord, text: str) -> Generation:
    """Return a generation as a worker would have made it."""
    return Generation(
        record=record,
        text=text,
        finish_reason="stop",
        prompt_tokens=3,
        output_tokens=4,
        seed=5,
        model="m",
        worker="w",
        generated_at="2026-01-01T00:00:00+00:00",
        image_s=0.1,
        engine_s=0.2,
    )


def wait_until(condition: Callable[[], object], timeout_s: float = 240.0) -> None:
    """Return when the condition holds; fail when it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain"
        time.sleep(0.02)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file; every line must be whole."""
    data = path.read_bytes() if path.exists() else b""
    assert not data or data.endswith(b"\n")
    return [orjson.loads(line) for line in data.splitlines()]
