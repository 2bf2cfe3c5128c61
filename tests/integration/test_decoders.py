"""Real decoder processes: what comes back, and what becomes of those that die, hang or are left."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from contextvqa.errors import ImageError, Reason, TransientError
from contextvqa.settings import Images
from tests.stages import until
from tests.support import DECODER_HOOK, ROOT, DecodesHere, wait_until
from worker import decoders
from worker.decoders import Decoders
from worker.pixel_budget import PixelShare

SHARE = PixelShare(max_px=20_000, multiple_px=28)
HANGING_WORKER = Path(__file__).parent / "decoding_worker.py"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directory of two images; decoders that start from here on obey the hook."""
    (tmp_path / "sitecustomize.py").write_text(DECODER_HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    Image.radial_gradient("L").resize((900, 600)).convert("RGB").save(tmp_path / "a.jpg")
    Image.linear_gradient("L").resize((50, 70)).save(tmp_path / "b.png")
    return tmp_path


def run(
    root: Path,
    test: Callable[[Decoders], Awaitable[None]],
    *,
    count: int = 1,
    confine_images: bool = False,
) -> None:
    """Run a test with so many decoders, and look that none is left."""

    async def main() -> None:
        pool = Decoders(
            Images(image_root=root, decoders=count, confine_images=confine_images), num_cores=1
        )
        await pool.start()
        try:
            await test(pool)
        finally:
            await pool.stop()

    asyncio.run(main())
    assert processes() == []


def processes(parent: int | None = None) -> list[psutil.Process]:
    children = psutil.Process(parent).children()
    return [child for child in children if "worker.decoder" in child.cmdline()]


def test_images_come_back_as_they_would_be_decoded_here(root: Path) -> None:
    references = ["a.jpg", "b.png", "a.jpg"]

    async def decode(pool: Decoders) -> None:
        here = await DecodesHere(Images(image_root=root)).load(references, SHARE)
        for _ in range(2):
            there = await pool.load(references, SHARE)

            assert [image.size for image in there] == [(168, 112), (50, 70), (168, 112)]
            assert [image.tobytes() for image in there] == [image.tobytes() for image in here]

    run(root, decode)


def test_later_images_do_not_overwrite_those_that_still_wait(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        [first] = await pool.load(["a.jpg"], SHARE)
        pixels = first.tobytes()

        await pool.load(["b.png"], SHARE)

        assert first.tobytes() == pixels

    run(root, decode)


@pytest.mark.parametrize(
    "name", ["missing.png", "m" * 1_000_000], ids=["missing", "a name of 1 MB"]
)
def test_a_refusal_crosses_with_its_reason(root: Path, name: str) -> None:
    async def decode(pool: Decoders) -> None:
        with pytest.raises(ImageError, match="m") as caught:
            await pool.load([name], SHARE)

        assert caught.value.reason is Reason.IMAGE_NOT_FOUND
        assert await pool.load(["b.png"], SHARE)

    run(root, decode)


def test_decoders_keep_within_the_image_root_where_they_are_told_to(root: Path) -> None:
    (root / "sub").mkdir()

    async def decode(pool: Decoders) -> None:
        with pytest.raises(ImageError) as caught:
            await pool.load(["../b.png"], SHARE)

        assert caught.value.reason is Reason.IMAGE_OUTSIDE

    run(root / "sub", decode, confine_images=True)


def test_trouble_that_may_pass_crosses_as_such(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        with pytest.raises(TransientError, match=r"^the network is away$"):
            await pool.load(["away"], SHARE)

    run(root, decode)


def test_a_file_that_kills_its_decoder_costs_its_own_record_a_try_and_no_other(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        names = ["b.png", "segfault", "b.png", "segfault", "b.png", "segfault", "b.png"]

        outcomes = await asyncio.gather(
            *(pool.load([name], SHARE) for name in names), return_exceptions=True
        )

        for name, outcome in zip(names, outcomes, strict=True):
            if name == "b.png":
                assert not isinstance(outcome, BaseException), outcome
            else:
                assert isinstance(outcome, TransientError)
                assert "was killed by SIGSEGV while it had images ['segfault']" in str(outcome)

    run(root, decode, count=2)


def test_a_decoder_that_was_killed_while_idle_costs_nothing(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        await pool.load(["b.png"], SHARE)
        [process] = processes()
        [decoder] = pool._decoders
        was = decoder._process
        assert was is not None

        process.kill()
        await until(lambda: was.returncode is not None)

        assert await pool.load(["b.png"], SHARE)

    run(root, decode)


def test_a_decoder_that_hangs_is_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def decode(pool: Decoders) -> None:
        await pool.load(["b.png"], SHARE)
        [process] = processes()
        monkeypatch.setattr(decoders, "DECODE_TIMEOUT_S", 0.1)

        with pytest.raises(TransientError, match=r"images \['hang'\] are not decoded after"):
            await pool.load(["hang"], SHARE)

        monkeypatch.undo()
        assert not process.is_running()
        assert await pool.load(["b.png"], SHARE)

    run(root, decode)


def test_a_record_that_is_given_up_leaves_no_answer_to_the_next(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        given_up = asyncio.create_task(pool.load(["hang"], SHARE))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)

        [image] = await pool.load(["b.png"], SHARE)

        assert image.size == (50, 70)

    run(root, decode)


def test_a_terminals_ctrl_c_does_not_reach_the_decoders(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        await pool.load(["b.png"], SHARE)
        [process] = processes()

        process.send_signal(signal.SIGINT)

        assert await pool.load(["b.png"], SHARE)
        assert processes() == [process]

    run(root, decode)


@pytest.mark.parametrize("references", [(), ("hang",)], ids=["idle", "decoding"])
def test_a_killed_worker_leaves_no_decoder_behind(root: Path, references: tuple[str, ...]) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(ROOT)])}
    worker = subprocess.Popen(
        [sys.executable, HANGING_WORKER, root, *references],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"decoding\n"
    left = processes(worker.pid)
    assert len(left) == 2

    worker.kill()
    worker.communicate()

    wait_until(lambda: not any(process.is_running() for process in left))


def test_a_decoder_holds_nothing_of_the_workers_but_its_stderr(root: Path) -> None:
    async def decode(pool: Decoders) -> None:
        await pool.load(["b.png"], SHARE)
        [process] = processes()
        held = descriptors(process.pid)

        assert held[0] != descriptors(os.getpid())[0]
        assert held[2] == descriptors(os.getpid())[2]
        assert held[1] == held[2]
        # Its requests, for which asyncio takes a socket pair on some systems; answers; images.
        kinds = [held[number].split(":")[0] for number in held if number not in {1, 2}]
        assert sorted(kinds) in (["/memfd", "pipe", "pipe"], ["/memfd", "pipe", "socket"])

    run(root, decode)


def descriptors(pid: int) -> dict[int, str]:
    """Return what a process has open."""
    entries = Path(f"/proc/{pid}/fd").iterdir()
    return {int(entry.name): str(entry.readlink()) for entry in entries if entry.is_symlink()}


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("worker.decoder", ("vllm", "torch", "transformers", "numpy", "redis", "rq")),
        ("worker.decoders", ("pyvips", "worker.images")),
    ],
)
def test_a_decoder_loads_nothing_of_the_worker_nor_the_worker_what_decodes(
    module: str, others: tuple[str, ...]
) -> None:
    script = f"import sys, {module}; print([n for n in {others} if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
