"""
A picture of the dashboard's graphs without Grafana: PROMETHEUS_URL OUT.svg SECONDS [PANEL ...].

    python monitoring/picture.py http://127.0.0.1:9090 out.svg 600 "Tokens per second"

Asks Prometheus for the last so many seconds of each panel, by the expressions that Grafana would
ask for, and draws them as an SVG.
"""

import html
import json
import math
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent / "grafana" / "dashboard.json"
COLOURS = ("#3274d9", "#56a64b", "#e0752d", "#e02f44", "#8f3bb8", "#b8860b", "#0aa2a2", "#777777")
#: Of a panel, and of what is drawn in it beside the labels of the axes and the legend.
WIDTH, HEIGHT = 600, 200
LEFT, TOP = 52, 30
INNER_WIDTH, INNER_HEIGHT = 358, 148
NUM_STEPS = 200

#: Points of one line: time and value.
Points = list[tuple[float, float]]


def ask(
    url: str, expression: str, end: float, seconds: float
) -> list[tuple[dict[str, str], Points]]:
    """Return the lines of an expression over the last seconds, with their labels."""
    query = {
        "query": expression.replace("$__rate_interval", f"{max(4, seconds // 10):.0f}s").replace(
            "$run", ".*"
        ),
        "start": end - seconds,
        "end": end,
        "step": max(1, seconds / NUM_STEPS),
    }
    address = f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - the caller's server
        found = json.load(answer)["data"]["result"]
    return [
        (series["metric"], [(at, float(value)) for at, value in series["values"]])
        for series in found
    ]


def lines_of(url: str, panel: dict[str, Any], end: float, seconds: float) -> dict[str, Points]:
    """Return the lines of a panel by their legend, without values that are no numbers."""
    lines = {}
    for target in panel["targets"]:
        for labels, points in ask(url, target["expr"], end, seconds):
            name = target["legendFormat"] or panel["title"]
            for label, value in labels.items():
                name = name.replace("{{" + label + "}}", value)
            if kept := [point for point in points if math.isfinite(point[1])]:
                lines[name] = kept
    return lines


def draw(panel: dict[str, Any], lines: dict[str, Points], begin: float, seconds: float) -> str:
    """Return one panel as an SVG group; its lines lie on one another where Grafana stacks them."""
    defaults = panel["fieldConfig"]["defaults"]
    is_stacked = "stacking" in defaults.get("custom", {})
    shown = {name: points for name, points in lines.items() if any(value for _, value in points)}
    if is_stacked:
        shown = stacked(shown)
    most = max((value for points in shown.values() for _, value in points), default=1.0)

    def place(at: float, value: float) -> str:
        x = LEFT + (at - begin) / seconds * INNER_WIDTH
        return f"{x:.1f},{TOP + INNER_HEIGHT * (1 - value / most):.1f}"

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{html.escape(panel["title"])}</text>']
    parts += axes(most, seconds, is_share=defaults["unit"] == "percentunit")
    # The highest first, so that those in front of it are seen.
    for number, (name, points) in reversed(list(enumerate(shown.items()))):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(place(at, value) for at, value in points)
        if is_stacked:
            corners = f"{place(points[0][0], 0)} {path} {place(points[-1][0], 0)}"
            parts.append(f'<polygon points="{corners}" fill="{colour}"/>')
        else:
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        parts += legend(name, colour, TOP + 8 + 15 * number)
    return "".join(parts)


def stacked(lines: dict[str, Points]) -> dict[str, Points]:
    """Return lines that each lie on those before it."""
    below: dict[float, float] = {}
    stacks = {}
    for name, points in lines.items():
        stacks[name] = [(at, value + below.get(at, 0.0)) for at, value in points]
        below |= dict(stacks[name])
    return stacks


def axes(most: float, seconds: float, *, is_share: bool) -> Iterator[str]:
    """Yield lines and labels at nothing, half and all of both axes."""
    right = LEFT + INNER_WIDTH
    for share in (0, 0.5, 1):
        y = TOP + INNER_HEIGHT * (1 - share)
        value = f"{most * share:.0%}" if is_share else number(most * share)
        yield f'<line x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end" fill="#555">{value}</text>'
        x, at = LEFT + INNER_WIDTH * share, f"{seconds * share:.0f} s"
        yield f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="middle" fill="#555">{at}</text>'


def number(value: float) -> str:
    """Return three digits of a number, with a thousand and a million in one letter."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def legend(name: str, colour: str, y: float) -> Iterator[str]:
    """Yield a line's name beside its colour."""
    x = LEFT + INNER_WIDTH + 10
    yield f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/>'
    yield f'<text x="{x + 14}" y="{y}">{html.escape(name)}</text>'


def main(url: str, out: Path, seconds: float, titles: list[str]) -> None:
    """Draw the panels of these titles, two in a row; all graphs where none is named."""
    end = time.time()
    panels = [
        panel
        for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]
        if (panel["title"] in titles if titles else panel["type"] == "timeseries")
    ]
    groups = []
    for number, panel in enumerate(panels):
        x, y = number % 2 * WIDTH, number // 2 * HEIGHT
        drawn = draw(panel, lines_of(url, panel, end, seconds), end - seconds, seconds)
        groups.append(f'<g transform="translate({x},{y})">{drawn}</g>')
    size = f"{2 * WIDTH} {math.ceil(len(panels) / 2) * HEIGHT}"
    out.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(groups)}</svg>\n',
        "utf-8",
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
