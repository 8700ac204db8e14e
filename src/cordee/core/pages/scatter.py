"""A drawing of points in a plane: series with marks and lines of their own, on scales that fit them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cordee.core.pages.chart import STEPS, round_step

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 18, 14, 44
WIDE = 6.0
"""From how many times the least on a scale goes by powers of ten."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place, what it is, and whether it is to be seen first."""

    x: float
    y: float
    words: str
    stands_out: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together, in the order in which a line joins them."""

    name: str
    points: tuple[Point, ...]


class Axis:
    """From values to places between two ends, evenly or by powers of ten."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        least, most = min(values), max(values)
        self.is_log = least > 0 and most / least >= WIDE
        low, high = (math.log10(least), math.log10(most)) if self.is_log else (least, most)
        room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - room, high + room
        if not self.is_log and least >= 0:
            self.low = max(self.low, 0.0)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """The place of a value."""
        one = math.log10(value) if self.is_log else value
        return self._start + (self._end - self._start) * (one - self.low) / (self.high - self.low)

    def marks(self) -> list[float]:
        """Round values on it."""
        if not self.is_log:
            step = round_step(self.high - self.low, 4)
            first = math.ceil(self.low / step - 1e-9)
            return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [digit * 10.0**power for power in powers for digit in digits]
            found = [value for value in found if self.low <= math.log10(value) <= self.high]
            if len(found) <= len(STEPS) + 1:
                break
        return found


def scatter(
    words: str, titles: tuple[str, str], series: Sequence[Series], limit: float | None = None
) -> Markup:
    """Draw them. `titles`: of the scale below and of that beside; `limit`: a value below, marked."""
    points = [point for one in series for point in one.points]
    xs = [point.x for point in points]
    across = Axis([*xs, limit] if limit else xs, LEFT, WIDTH - RIGHT)
    up = Axis([point.y for point in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg class="scatter" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">',
        *_scales(across, up),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(titles[0])}</text>',
        f'<text class="beside" x="{-(TOP + HEIGHT - BOTTOM) / 2:.0f}" y="13" text-anchor="middle">{escape(titles[1])}</text>',
    ]
    if limit:
        x = across.at(limit)
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')  # fmt: skip
        parts.append(f'<text class="limit" x="{x - 4:.1f}" y="{TOP + 10}" text-anchor="end">limit</text>')  # fmt: skip
    for number, one in enumerate(series):
        places = [(across.at(point.x), up.at(point.y)) for point in one.points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="kind-{number}" points="{joined}"/>')
        for (x, y), point in zip(places, one.points, strict=True):
            parts.append(_mark(number, x, y, point))
    return Markup("".join([*parts, "</svg>"]))


def number_text(value: float) -> str:
    """A number on a scale, short."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if sign == 'k' else size):.3g}{sign}"
    return f"{value:.4g}"


def _scales(across: Axis, up: Axis) -> Iterator[str]:
    for value in up.marks():
        y = up.at(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number_text(value)}</text>'
    for value in across.marks():
        x = across.at(value)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{number_text(value)}</text>'


def _mark(number: int, x: float, y: float, point: Point) -> str:
    """Each series has a shape of its own, for those who do not tell colours apart."""
    size = 6 if point.stands_out else 4
    shapes = (
        f'circle cx="{x:.1f}" cy="{y:.1f}" r="{size}"',
        f'rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}"',
        f'polygon points="{x:.1f},{y - size - 1:.1f} {x + size + 1:.1f},{y + size:.1f} {x - size - 1:.1f},{y + size:.1f}"',
        f'polygon points="{x:.1f},{y - size - 2:.1f} {x + size + 2:.1f},{y:.1f} {x:.1f},{y + size + 2:.1f} {x - size - 2:.1f},{y:.1f}"',
    )
    shape = shapes[number % len(shapes)]
    kind = f"kind-{number} best" if point.stands_out else f"kind-{number}"
    return f'<{shape} class="{kind}"><title>{escape(point.words)}</title></{shape.split()[0]}>'
