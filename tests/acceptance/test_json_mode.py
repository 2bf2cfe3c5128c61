"""`--output-mode json` with the real engine: what it forces, and what it makes of a refusal."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import orjson
import pytest

from tests.support import FLAGS, ROOT, clean_environment, read_lines, run_contextvqa
from worker.output_schema import MAX_PAIRS

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

Text = Annotated[str, msgspec.Meta(min_length=1)]
#: Cuts some of the 48 texts, and not all.
MAX_TOKENS = 150


class Pair(msgspec.Struct, forbid_unknown_fields=True):
    """The schema once more, as a reader would have it."""

    question: Text
    answer: Text


class Written(msgspec.Struct, forbid_unknown_fields=True):
    """A whole text."""

    context: Text
    qas: Annotated[list[Pair], msgspec.Meta(min_length=1, max_length=MAX_PAIRS)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], Path]:
    """A run in JSON that has ended: its command without the mode, and its directory."""
    runs_dir = tmp_path_factory.mktemp("runs")
    command = [
        *("run", FLAGS / "sample_data.json", "--run", "r", "--runs-dir", runs_dir),
        *("--model", FLAGS / "model", "--image-root", FLAGS),
        *("--max-tokens", MAX_TOKENS, "--max-attempts", 1),
    ]
    done = run_contextvqa(*command, "--output-mode", "json")
    assert done.returncode == 0, done.stderr
    return command, runs_dir / "r"


def test_every_text_follows_the_schema_or_is_cut_and_known_to_be(
    run: tuple[list[object], Path],
) -> None:
    _, directory = run
    results = read_lines(directory / "results.jsonl")
    rejects = read_lines(directory / "rejects.jsonl")

    assert sorted(line["id"] for line in results + rejects) == list(range(1, 49))
    num_whole = 0
    for line in results:
        meta = line["meta"]
        try:
            written = msgspec.json.decode(line["vqa"], type=Written)
        except msgspec.DecodeError:
            assert (meta["finish_reason"], meta["output_tokens"]) == ("length", MAX_TOKENS)
            assert "gate.truncated" in meta["checks"]
            continue
        num_whole += 1
        assert "gate.truncated" not in meta["checks"]
        kept = {(pair["question"], pair["answer"]) for pair in line["context_vqa"]["qas"]}
        assert kept <= {(pair.question, pair.answer) for pair in written.qas}
    assert 0 < num_whole < len(results)
    for line in rejects:
        assert line["vqa"].startswith('{"context": "')


def test_the_mode_belongs_to_the_run_and_another_is_refused_in_one_line(
    run: tuple[list[object], Path],
) -> None:
    command, directory = run
    config = orjson.loads((directory / "run.json").read_bytes())

    done = run_contextvqa(*command)

    assert config["sampling"]["output_mode"] == "json"
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "was begun with output_mode 'json', not 'text'" in line


#: In a process of its own, as vLLM leaves much behind. Leaves what comes of a broken schema, of a
#: tokenizer that the backend does not know, and of a good request after them; then the tokens that
#: are asked with in either mode.
SCRIPT = """
import asyncio, sys
from pathlib import Path
from unittest import mock
import orjson
from PIL import Image
from contextvqa.errors import RejectError
from contextvqa.settings import Engine as Options, Sampling
from worker import output_schema
from worker.engine import Engine

IN_JSON = Sampling(output_mode="json")

async def write(engine, number):
    images = [Image.open(sys.argv[2]).convert("RGB")]
    request = {"images": images, "prompt": "Write.", "sampling": IN_JSON, "seed": 1}
    try:
        return (await engine.generate(**request, request_id=str(number))).text
    except RejectError as error:
        return f"{error.reason}: {error}"

async def main():
    engine = Engine(sys.argv[1], Options(max_model_len=1024), stall_timeout_s=60)
    engine.start()
    from vllm.v1.structured_output.backend_guidance import GuidanceBackend
    with mock.patch.object(output_schema, "OUTPUT_SCHEMA", {"type": "article"}):
        broken = await write(engine, 1)
    with mock.patch.object(GuidanceBackend, "is_tokenizer_supported", lambda _: False):
        unknown = await write(engine, 2)
    good = await write(engine, 3)
    lengths = [await engine._count_tokens("Write.", asked) for asked in (Sampling(), IN_JSON)]
    engine.stop()
    Path(sys.argv[3]).write_bytes(orjson.dumps([broken, unknown, good, lengths]))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_request_that_vllm_refuses_is_a_reject_in_one_line_and_the_engine_goes_on(
    tmp_path: Path,
) -> None:
    script, left = tmp_path / "script.py", tmp_path / "left.json"
    script.write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, script, FLAGS / "model", FLAGS / "images" / "at.png", left],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    broken, unknown, good, lengths = orjson.loads(left.read_bytes())
    assert broken.startswith("request.refused: Grammar error:")
    assert unknown.startswith("request.refused: The 'guidance' structured output backend only")
    assert "\n" not in broken + unknown
    assert msgspec.json.decode(good, type=Written).qas
    # What is told to the model in JSON takes its place in the context.
    assert lengths[0] < lengths[1]
