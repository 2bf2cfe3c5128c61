"""
Draw flags, each one different: `python -m examples.flags.drawing OUT --count N --seed S`.

Writes OUT/images/*.png, OUT/data.json (input rows with ids) and OUT/labels.json ({id: country}).
The 48 pictures of this folder were made with

    python -m examples.flags.drawing examples/flags --count 48 --seed 7 --sample
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from examples.flags.countries import COUNTRIES, Country
from examples.flags.designs import DESIGNS, PALETTE, Disc, Shape, Star
from producer.prompt import DEFAULT_PROMPT

#: Longer side of the finished picture, in pixels.
MIN_SIDE_PX: Final = 120
MAX_SIDE_PX: Final = 400
#: Shapes are drawn this much larger and scaled down: Pillow does not smooth its polygons.
_OVERSAMPLING: Final = 2

Colour = tuple[int, int, int]


def draw_flag(country: Country, rng: random.Random, *, grain: bool = True) -> Image.Image:
    """
    Draw *country*'s flag as a photograph might show it.

    Args:
        country: Whose flag.

        rng: Decides aspect, colours, margin, angle, size, blur, brightness and noise; the same
            state draws the same picture.

        grain: Add noise. Pictures without it are far smaller as PNG.

    Returns:
        An RGB image, 120 to 400 pixels on its longer side.
    """
    width = rng.randint(MIN_SIDE_PX, MAX_SIDE_PX)
    height = max(round(width / rng.uniform(1.25, 1.9)), 2)
    flag = _paint(DESIGNS[country.code], width, height, _vary_palette(rng))
    picture = _place(flag, rng)
    picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.006 * width)))
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.75, 1.15))
    return _add_grain(picture, rng) if grain else picture


def _vary_palette(rng: random.Random) -> dict[str, Colour]:
    """Shift every colour a little, the same for the whole flag."""
    return {
        letter: (_shift(red, rng), _shift(green, rng), _shift(blue, rng))
        for letter, (red, green, blue) in PALETTE.items()
    }


def _shift(level: int, rng: random.Random) -> int:
    return min(max(level + rng.randint(-16, 16), 0), 255)


def _paint(
    design: tuple[Shape, ...], width: int, height: int, palette: dict[str, Colour]
) -> Image.Image:
    wide, high = width * _OVERSAMPLING, height * _OVERSAMPLING
    flag = Image.new("RGB", (wide, high))
    pen = ImageDraw.Draw(flag)
    for shape in design:
        colour = palette[shape.colour]
        if isinstance(shape, Disc):
            x, y, radius = shape.x * wide, shape.y * high, shape.radius * high
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        elif isinstance(shape, Star):
            x, y = shape.x * wide, shape.y * high
            corners = [(x + dx * high, y + dy * high) for dx, dy in shape.offsets()]
            pen.polygon(corners, fill=colour)
        else:
            pen.polygon([(px * wide, py * high) for px, py in shape.points], fill=colour)
    return flag.resize((width, height), Image.Resampling.BOX)


def _place(flag: Image.Image, rng: random.Random) -> Image.Image:
    """Put the flag on a plain ground, turned by up to eight degrees; a third fill the picture."""
    if rng.random() < 1 / 3:
        return flag
    ground = _ground(rng)
    margin = round(flag.width * rng.uniform(0.02, 0.12))
    wider = Image.new("RGB", (flag.width + 2 * margin, flag.height + 2 * margin), ground)
    wider.paste(flag, (margin, margin))
    if rng.random() < 0.3:
        return wider
    return wider.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=ground)


def _ground(rng: random.Random) -> Colour:
    grey = rng.randint(60, 235)
    return (_shift(grey, rng), _shift(grey, rng), _shift(grey, rng))


def _add_grain(picture: Image.Image, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32))
    pixels = np.asarray(picture, dtype=np.float32)
    grain = noise.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(0, 12)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def drawing_rng(purpose: str, index: int) -> random.Random:
    """A generator of its own for every picture; purposes ("train", "draw 7") never meet."""
    return random.Random(f"flags {purpose} {index}")


def draw_set(out: Path, count: int, seed: int, *, sample: bool) -> None:
    """
    Write *count* pictures with their rows; the countries take turns.

    Args:
        out: Directory; made if missing.

        count: Number of pictures.

        seed: Another seed draws other pictures of the same countries.

        sample: Write sample_data.json without ids and without labels, and pictures without grain.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    labels: dict[str, str] = {}
    for index in range(count):
        country = COUNTRIES[index % len(COUNTRIES)]
        name = country.code if sample else f"{country.code}-{seed}-{index:06d}"
        picture = draw_flag(country, drawing_rng(f"draw {seed}", index), grain=not sample)
        picture.save(out / "images" / f"{name}.png", optimize=sample)
        labels[name] = country.name
        rows.append(({} if sample else {"id": name}) | _row(name))
    _write_json(out / ("sample_data.json" if sample else "data.json"), rows)
    if not sample:
        _write_json(out / "labels.json", labels)


def _row(name: str) -> dict[str, Any]:
    turn = {"from": "human", "value": f"<image>\n{DEFAULT_PROMPT}"}
    return {"image": [f"./images/{name}.png"], "conversation": [turn]}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw flags and the input rows that go with them.")
    parser.add_argument("out", type=Path, help="directory to write to")
    parser.add_argument("--count", type=int, default=48, help="number of pictures (default 48)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures")
    parser.add_argument("--sample", action="store_true", help="write this folder's sample data")
    args = parser.parse_args()
    if args.sample and args.count > len(COUNTRIES):
        parser.error(f"--sample names pictures by country: at most {len(COUNTRIES)}")
    draw_set(args.out, args.count, args.seed, sample=args.sample)


if __name__ == "__main__":
    main()
