"""What the 48 flags look like, as shapes in a unit square that is stretched to the flag's size."""

import math
from dataclasses import dataclass
from typing import Final

#: Letters of the designs below. Close to the official colours; the drawing varies them anyway.
PALETTE: Final[dict[str, tuple[int, int, int]]] = {
    "w": (255, 255, 255),
    "k": (15, 15, 15),
    "r": (206, 17, 38),
    "m": (158, 27, 50),  # Latvian carmine
    "o": (255, 140, 0),
    "y": (252, 209, 22),
    "g": (0, 122, 61),
    "l": (58, 170, 53),  # the lighter greens of Gabon and Madagascar
    "b": (0, 56, 147),
    "s": (65, 143, 222),  # sky blue
    "n": (10, 35, 100),  # navy
    "a": (0, 150, 170),  # aquamarine
}

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled polygon; both axes run from 0 to 1."""

    colour: str
    points: Points


@dataclass(frozen=True, slots=True)
class Disc:
    """A filled circle; *radius* is a part of the flag's height, so it stays round."""

    colour: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Star:
    """A star with one point up; *inner* is the inner radius as a part of *radius*."""

    colour: str
    x: float
    y: float
    radius: float
    inner: float = 0.38
    num_points: int = 5

    def offsets(self) -> Points:
        """Corner positions around the centre, in parts of the flag's height."""
        count = 2 * self.num_points
        corners = []
        for k in range(count):
            length = self.radius * (self.inner if k % 2 else 1.0)
            angle = 2 * math.pi * k / count - math.pi / 2
            corners.append((length * math.cos(angle), length * math.sin(angle)))
        return tuple(corners)


Shape = Polygon | Disc | Star
Design = tuple[Shape, ...]


def _rect(colour: str, x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return Polygon(colour, ((x0, y0), (x1, y0), (x1, y1), (x0, y1)))


def _edges(weights: tuple[float, ...]) -> list[float]:
    total = sum(weights)
    return [sum(weights[:k]) / total for k in range(len(weights) + 1)]


def _stripes(colours: str, *weights: float) -> Design:
    """Horizontal stripes from the top, equal unless *weights* are given."""
    edges = _edges(weights or (1.0,) * len(colours))
    return tuple(_rect(c, 0, edges[k], 1, edges[k + 1]) for k, c in enumerate(colours))


def _bars(colours: str, *weights: float) -> Design:
    """Vertical bars from the hoist, equal unless *weights* are given."""
    edges = _edges(weights or (1.0,) * len(colours))
    return tuple(_rect(c, edges[k], 0, edges[k + 1], 1) for k, c in enumerate(colours))


def _nordic(field: str, cross: str, inner: str = "") -> Design:
    """A cross off centre, with a narrower one inside it if *inner* is given."""
    shapes = [*_stripes(field)]
    for colour, width in ((cross, 0.22), (inner, 0.11)):
        if colour:
            half = width / 2
            shapes.append(_rect(colour, 0.38 - half / 1.5, 0, 0.38 + half / 1.5, 1))
            shapes.append(_rect(colour, 0, 0.5 - half, 1, 0.5 + half))
    return tuple(shapes)


def _hoist_triangle(colour: str, tip: float) -> Polygon:
    return Polygon(colour, ((0, 0), (tip, 0.5), (0, 1)))


def _plus(colour: str, x: float, y: float, half: float, half_width: float) -> Design:
    """An upright cross that is as wide as high on a 3:2 flag."""
    return (
        _rect(colour, x - half / 1.5, y - half_width, x + half / 1.5, y + half_width),
        _rect(colour, x - half_width / 1.5, y - half, x + half_width / 1.5, y + half),
    )


#: The right half of a maple leaf; mirrored at x = 0.5.
_LEAF: Final = (
    (0.500, 0.18), (0.525, 0.27), (0.560, 0.25), (0.545, 0.41), (0.590, 0.34), (0.600, 0.38),
    (0.650, 0.37), (0.635, 0.46), (0.660, 0.49), (0.570, 0.63), (0.575, 0.67), (0.508, 0.66),
    (0.508, 0.82),
)  # fmt: skip
_MAPLE: Final = Polygon("r", _LEAF + tuple((1 - x, y) for x, y in reversed(_LEAF)))
_SALTIRE: Final = (
    Polygon("y", ((0, 0), (0.09, 0), (1, 0.87), (1, 1), (0.91, 1), (0, 0.13))),
    Polygon("y", ((1, 0), (0.91, 0), (0, 0.87), (0, 1), (0.09, 1), (1, 0.13))),
)

#: Country code -> shapes, painted in this order.
DESIGNS: Final[dict[str, Design]] = {
    "ae": (*_stripes("gwk"), _rect("r", 0, 0, 0.26, 1)),
    "am": _stripes("rbo"),
    "at": _stripes("rwr"),
    "bd": (*_stripes("g"), Disc("r", 0.45, 0.5, 0.33)),
    "be": _bars("kyr"),
    "bs": (*_stripes("aya"), _hoist_triangle("k", 0.42)),
    "ca": (*_bars("rwr", 1, 2, 1), _MAPLE),
    "ch": (*_stripes("r"), *_plus("w", 0.5, 0.5, 0.32, 0.1)),
    "cl": (*_stripes("wr"), _rect("b", 0, 0, 0.33, 0.5), Star("w", 0.165, 0.25, 0.14)),
    "co": _stripes("ybr", 2, 1, 1),
    "cr": _stripes("bwrwb", 1, 1, 2, 1, 1),
    "cu": (*_stripes("bwbwb"), _hoist_triangle("r", 0.45), Star("w", 0.15, 0.5, 0.16)),
    "cz": (*_stripes("wr"), _hoist_triangle("b", 0.5)),
    "de": _stripes("kry"),
    "dk": _nordic("r", "w"),
    "ee": _stripes("skw"),
    "fi": _nordic("w", "b"),
    "fr": _bars("bwr"),
    "ga": _stripes("lys"),
    "gh": (*_stripes("ryg"), Star("k", 0.5, 0.5, 0.17)),
    "gn": _bars("ryg"),
    "gr": (
        *_stripes("bwbwbwbwb"),
        _rect("b", 0, 0, 0.37, 5 / 9),
        _rect("w", 0, 2 / 9, 0.37, 3 / 9),
        _rect("w", 0.148, 0, 0.222, 5 / 9),
    ),
    "hu": _stripes("rwg"),
    "ie": _bars("gwo"),
    "in": (*_stripes("owg"), Disc("n", 0.5, 0.5, 0.15), Disc("w", 0.5, 0.5, 0.115),
           Star("n", 0.5, 0.5, 0.12, 0.25, 12)),
    "is": _nordic("b", "w", "r"),
    "it": _bars("gwr"),
    "jm": (*_bars("k"), Polygon("g", ((0, 0), (0.5, 0.5), (1, 0))),
           Polygon("g", ((0, 1), (0.5, 0.5), (1, 1))), *_SALTIRE),
    "jp": (*_stripes("w"), Disc("r", 0.5, 0.5, 0.3)),
    "la": (*_stripes("rbr", 1, 2, 1), Disc("w", 0.5, 0.5, 0.2)),
    "lt": _stripes("ygr"),
    "lv": _stripes("mwm", 2, 1, 2),
    "ma": (*_stripes("r"), Star("g", 0.5, 0.5, 0.28), Star("r", 0.5, 0.5, 0.15)),
    "mg": (*_stripes("rl"), _rect("w", 0, 0, 0.33, 1)),
    "mu": _stripes("rnyg"),
    "ng": _bars("gwg"),
    "nl": _stripes("rwb"),
    "no": _nordic("r", "w", "n"),
    "pa": (_rect("w", 0, 0, 0.5, 0.5), _rect("r", 0.5, 0, 1, 0.5), _rect("b", 0, 0.5, 0.5, 1),
           _rect("w", 0.5, 0.5, 1, 1), Star("b", 0.25, 0.25, 0.14), Star("r", 0.75, 0.75, 0.14)),
    "pe": _bars("rwr"),
    "pl": _stripes("wr"),
    "pw": (*_stripes("s"), Disc("y", 0.44, 0.5, 0.3)),
    "se": _nordic("b", "y"),
    "so": (*_stripes("s"), Star("w", 0.5, 0.5, 0.27)),
    "th": _stripes("rwnwr", 1, 1, 2, 1, 1),
    "tr": (*_stripes("r"), Disc("w", 0.35, 0.5, 0.26), Disc("r", 0.4, 0.5, 0.205),
           Star("w", 0.56, 0.5, 0.14)),
    "ua": _stripes("by"),
    "vn": (*_stripes("r"), Star("y", 0.5, 0.5, 0.3)),
}  # fmt: skip
