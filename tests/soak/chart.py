"""The curve of a soak as an SVG: a panel for what is of one size, and a tick for each kill."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from tests.soak.flatness import Point
from tests.soak.record import Record
from tests.soak.watch import Sample

#: Of the picture, in pixels.
WIDTH, LEFT, RIGHT, HEIGHT, GAP = 900, 60, 180, 130, 46
#: Told apart by most kinds of colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
#: Seconds over which records are counted per second.
RATE_WINDOW_S = 60.0
#: Seconds between samples beyond which a line is not drawn on.
MAX_PAUSE_S = 20.0
#: Roles in the panel of large processes; those of the small ones, which are of the same size.
LARGE = ("worker-cpu engine", "worker-cpu process")
SMALL = ("refiner 1", "refiner 2", "refiner 3", "cli", "worker-cpu", "worker-cpu decoder", "redis")

Series = Mapping[str, Sequence[Point]]


def draw(record: Record, samples: Sequence[Sample]) -> str:
    """Return the picture."""
    memory = _memory(samples)
    panels: list[tuple[str, Series]] = [
        ("engine and worker process, MB", _of(memory, LARGE)),
        ("other processes, MB", _of(memory, SMALL)),
        ("Redis, MB", _server(samples)),
        ("records that wait", _queues(samples)),
        ("results/s, over a minute", {"results/s": _rate(samples)}),
    ]
    body = [
        part
        for number, (title, series) in enumerate(panels)
        for part in _panel(title, series, record.duration_s, GAP + number * (HEIGHT + GAP))
    ]
    top = GAP + len(panels) * (HEIGHT + GAP)
    body += _kills(record, top)
    height = top + 3 * GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *body, "</svg>\n"])


def _memory(samples: Sequence[Sample]) -> dict[str, list[Point]]:
    """Return the MB of each role, its lives one after another."""
    found: defaultdict[str, list[Point]] = defaultdict(list)
    for sample in samples:
        sizes: defaultdict[str, float] = defaultdict(float)
        for process in sample.memory:
            sizes[process.role] += process.num_bytes / 1e6
        for role, size in sizes.items():
            found[role].append((sample.at_s, size))
    return found


def _of(memory: Series, roles: Sequence[str]) -> Series:
    return {role: memory[role] for role in roles if role in memory}


def _server(samples: Sequence[Sample]) -> Series:
    asked = [(sample.at_s, sample.server) for sample in samples if sample.server is not None]
    return {
        "used_memory": [(at_s, server.used_bytes / 1e6) for at_s, server in asked],
        "used_memory_rss": [(at_s, server.rss_bytes / 1e6) for at_s, server in asked],
    }


def _queues(samples: Sequence[Sample]) -> Series:
    asked = [(sample.at_s, sample.server) for sample in samples if sample.server is not None]
    return {
        "generate": [(at_s, server.num_generate) for at_s, server in asked],
        "refine": [(at_s, server.num_refine) for at_s, server in asked],
    }


def _rate(samples: Sequence[Sample]) -> list[Point]:
    found: list[Point] = []
    first = 0
    for sample in samples:
        while sample.at_s - samples[first].at_s > RATE_WINDOW_S:
            first += 1
        elapsed_s = sample.at_s - samples[first].at_s
        if elapsed_s > RATE_WINDOW_S / 2:
            num_new = sample.num_results - samples[first].num_results
            found.append((sample.at_s, num_new / elapsed_s))
    return found


def _panel(title: str, series: Series, duration_s: float, top: float) -> Iterator[str]:
    highest = _round_up(max(value for points in series.values() for _, value in points))
    bottom = top + HEIGHT
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>'
    for share in (0, 0.5, 1):
        y = bottom - share * HEIGHT
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(share * highest)}</text>'
    yield from _minutes(duration_s, bottom)
    for points, colour in zip(series.values(), COLOURS, strict=False):
        path = _path(points, duration_s, highest, bottom)
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    for number, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        yield (
            f'<text x="{WIDTH - RIGHT + 12}" y="{top + 12 + 17 * number}" fill="{colour}">'
            f"{escape(name)}</text>"
        )


def _path(points: Sequence[Point], duration_s: float, highest: float, bottom: float) -> str:
    steps = []
    last_s = float("-inf")
    for at_s, value in points:
        pen = "L" if at_s - last_s <= MAX_PAUSE_S else "M"
        steps.append(f"{pen}{_x(at_s, duration_s):.1f} {bottom - value / highest * HEIGHT:.1f}")
        last_s = at_s
    return "".join(steps)


def _kills(record: Record, top: float) -> Iterator[str]:
    victims = sorted({kill.victim for kill in record.kills})
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">kills</text>'
    for number, (victim, colour) in enumerate(zip(victims, COLOURS, strict=False)):
        y = top + 17 * number
        yield f'<text x="{WIDTH - RIGHT + 12}" y="{y + 12}" fill="{colour}">{escape(victim)}</text>'
        for kill in record.kills:
            if kill.victim == victim:
                x = _x(kill.at_s, record.duration_s)
                yield f'<path d="M{x:.1f} {y}v14" stroke="{colour}" stroke-width="3"/>'


def _minutes(duration_s: float, bottom: float) -> Iterator[str]:
    for share in (0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1):
        x = _x(share * duration_s, duration_s)
        text = f"{share * duration_s / 60:.0f} min"
        yield f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle" fill="#777">{text}</text>'


def _x(at_s: float, duration_s: float) -> float:
    return LEFT + at_s / duration_s * (WIDTH - LEFT - RIGHT)


def _round_up(value: float) -> float:
    """Return the next number that an axis may well end with."""
    unit = 10.0 ** math.floor(math.log10(value or 1))
    return next(each * unit for each in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if each * unit >= value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
