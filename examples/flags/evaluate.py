"""
Measure the model on drawings it was not trained on: `python -m examples.flags.evaluate`.

With --results, judge what a run of the pipeline (and so vLLM) has written instead:

    python -m examples.flags.drawing DIR --count 480 --seed 99
    contextvqa run DIR/data.json --run flags --image-root DIR --model examples/flags/model
    python -m examples.flags.evaluate --results runs/flags/results.jsonl --labels DIR/labels.json
"""

import argparse
import json
import statistics
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from examples.flags.articles import JSON_REQUESTS
from examples.flags.countries import COUNTRIES
from examples.flags.drawing import draw_flag, drawing_rng
from examples.flags.scoring import Output, Verdict, judge, judge_json, summarize
from producer.prompt import DEFAULT_PROMPT

if TYPE_CHECKING:
    from PIL import Image

_BATCH: Final = 48
_MAX_TOKENS: Final = 512


def generate(
    model_dir: Path, count: int, seed: int, prompt: str, temperature: float
) -> list[Output]:
    """Write *count* outputs with transformers, the countries taking turns."""
    # Imported here: judging a run's results needs neither torch nor transformers.
    import torch  # noqa: PLC0415

    from examples.flags.architecture import Qwen2_5_VLForConditionalGeneration  # noqa: PLC0415

    torch.manual_seed(seed)
    model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(model_dir, dtype=torch.bfloat16)
    processor = _load_processor(model_dir)
    outputs = []
    for indices, inputs in _encode(processor, count, seed, prompt):
        settings: dict[str, Any] = {"do_sample": temperature > 0, "max_new_tokens": _MAX_TOKENS}
        if temperature > 0:
            settings |= {"temperature": temperature, "top_p": 0.9, "top_k": 40}
        ids = model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :].tolist()
        outputs += [
            _decode(processor.tokenizer, index, row)
            for index, row in zip(indices, ids, strict=True)
        ]
    return outputs


def _load_processor(model_dir: Path) -> Any:
    from transformers import AutoProcessor  # noqa: PLC0415

    return AutoProcessor.from_pretrained(model_dir)


def _encode(
    processor: Any, count: int, seed: int, prompt: str
) -> list[tuple[list[int], dict[str, Any]]]:
    """Batch pictures with equally many image tokens, so that nothing has to be padded."""
    parts = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template(
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": parts},
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    by_length: defaultdict[int, list[tuple[int, Image.Image]]] = defaultdict(list)
    for index in range(count):
        country = COUNTRIES[index % len(COUNTRIES)]
        flag = draw_flag(country, drawing_rng(f"draw {seed}", index))
        num_patches = processor.image_processor.get_number_of_image_patches(flag.height, flag.width)
        by_length[num_patches].append((index, flag))
    batches = []
    for group in by_length.values():
        for start in range(0, len(group), _BATCH):
            indices, flags = zip(*group[start : start + _BATCH], strict=True)
            inputs = processor(text=[text] * len(flags), images=list(flags), return_tensors="pt")
            batches.append((list(indices), inputs))
    return batches


def _decode(tokenizer: Any, index: int, ids: list[int]) -> Output:
    finished = tokenizer.eos_token_id in ids
    if finished:
        ids = ids[: ids.index(tokenizer.eos_token_id) + 1]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return Output(COUNTRIES[index % len(COUNTRIES)], text, finished, len(ids))


def read_results(results: Path, labels_file: Path) -> tuple[list[Output], int]:
    """Return the outputs of a run and how many there should be; a rejected one counts as wrong."""
    labels = json.loads(labels_file.read_text(encoding="utf-8"))
    with results.open(encoding="utf-8") as lines:
        return [Output.from_line(json.loads(line), labels) for line in lines], len(labels)


def report(outputs: list[Output], verdicts: list[Verdict], num_expected: int) -> None:
    """Print the shares, the lengths, and the countries that were missed."""
    for name, share in summarize(verdicts, num_expected).items():
        print(f"{name:14} {share:7.2%}")
    lengths = [output.num_tokens for output in outputs]
    print(f"output tokens: mean {statistics.mean(lengths):.0f}, max {max(lengths)}")
    missed = Counter(
        output.country.name
        for output, verdict in zip(outputs, verdicts, strict=True)
        if not verdict.country_right
    )
    print(f"missed: {dict(missed.most_common())}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the flags model on held-out drawings.")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--count", type=int, default=480, help="number of drawings (default 480)")
    parser.add_argument("--seed", type=int, default=99, help="seed of the drawings (default 99)")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 is greedy (default 0.7)")
    parser.add_argument("--json", action="store_true", help="ask for JSON and judge that")
    parser.add_argument("--results", type=Path, help="judge a run's results.jsonl instead")
    parser.add_argument("--labels", type=Path, help="labels.json of the pictures of that run")
    args = parser.parse_args()
    if args.results and not args.labels:
        parser.error("--results needs --labels")
    start = time.monotonic()
    if args.results:
        outputs, num_expected = read_results(args.results, args.labels)
    else:
        prompt = DEFAULT_PROMPT + (JSON_REQUESTS[0] if args.json else "")
        outputs = generate(args.model, args.count, args.seed, prompt, args.temperature)
        num_expected = args.count
    print(f"{len(outputs)} outputs in {time.monotonic() - start:.0f} s")
    verdicts = [(judge_json if args.json else judge)(output) for output in outputs]
    report(outputs, verdicts, num_expected)


if __name__ == "__main__":
    main()
