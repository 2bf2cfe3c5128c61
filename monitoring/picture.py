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
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent / "grafana" / "dashboard.json"
COLOURS = ("#3274d9", "#56a64b", "#e0752d", "#e02f44", "#8f3bb8", "#b8860b", "#0aa2a2", "#777777")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 560, 200, 52, 30, 22, 150
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
    is_stacked = "stacking" in panel["fieldConfig"]["defaults"].get("custom", {})
    shown = {name: points for name, points in lines.items() if any(v for _, v in points)}
    below: dict[float, float] = {}
    stacks = {}
    for name, points in shown.items():
        stacks[name] = [(at, value + below.get(at, 0.0)) for at, value in points]
        if is_stacked:
            below |= dict(stacks[name])
    most = max((value for points in stacks.values() for _, value in points), default=1) or 1
    width, height = WIDTH - LEFT - LEGEND, HEIGHT - TOP - BOTTOM
    is_share = panel["fieldConfig"]["defaults"]["unit"] == "percentunit"

    def place(at: float, value: float) -> str:
        x = LEFT + (at - begin) / seconds * width
        return f"{x:.1f},{TOP + height - value / most * height:.1f}"

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{html.escape(panel["title"])}</text>']
    for share in (0, 0.5, 1):
        y = TOP + height * (1 - share)
        value = most * share
        text = f"{value:.0%}" if is_share else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004
        parts += [
            f'<line x1="{LEFT}" x2="{LEFT + width}" y1="{y}" y2="{y}" stroke="#ddd"/>',
            f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end" fill="#555">{text}</text>',
        ]
    for share in (0, 0.5, 1):
        x = LEFT + width * share
        parts.append(
            f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="middle" fill="#555">'
            f"{seconds * share:.0f} s</text>"
        )
    # The highest first, so that those in front of it are seen.
    for number, (name, points) in reversed(list(enumerate(stacks.items()))):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(place(at, value) for at, value in points)
        if is_stacked:
            first, last = points[0][0], points[-1][0]
            area = f"{place(first, 0)} {path} {place(last, 0)}"
            parts.append(f'<polygon points="{area}" fill="{colour}"/>')
        else:
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
        y = TOP + 8 + 15 * number
        parts += [
            f'<rect x="{WIDTH - LEGEND + 10}" y="{y - 8}" width="9" height="9" fill="{colour}"/>',
            f'<text x="{WIDTH - LEGEND + 24}" y="{y}">{html.escape(name)}</text>',
        ]
    return "".join(parts)


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
