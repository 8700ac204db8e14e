"""A drawing of numbers over their order: its scales, lines through values, and marks at some of them."""

import math
from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 30  # room for the scales
ASIDE, LETTER, LINE = 6, 6.5, 15
"""Words beside a mark: how far from it they are, how wide a letter and how high a line is."""
MOST_POINTS = 2000
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale:
    """From values to places in the drawing. `first`: the number under the first value."""

    def __init__(self, count: int, least: float, most: float, first: int = 1) -> None:
        self.count, self.first = count, first
        room = (most - least) * 0.06 or abs(most) * 0.1 or 1.0
        self.least, self.most = least - room, most + room

    def x(self, at: float) -> float:
        """Of the value with this number; of a single one, the middle."""
        wide = WIDTH - LEFT - RIGHT
        return LEFT + (wide * at / (self.count - 1) if self.count > 1 else wide / 2)

    def y(self, value: float) -> float:
        """Of a value."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.most - value) / (self.most - self.least)


def drawing(kind: str, words: str, parts: Iterable[str]) -> Markup:
    """The whole drawing; `kind` is its CSS class, `words` say what it shows to those who cannot see it."""
    head = f'<svg class="{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">'
    return Markup("".join([head, *parts, "</svg>"]))


def grid(scale: Scale) -> Iterator[str]:
    """Lines at round values with their numbers, and numbers below."""
    step = round_step(scale.most - scale.least, 4)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:e}".startswith("2.5") else 0))  # fmt: skip
    value = math.ceil(scale.least / step) * step
    while value <= scale.most:
        y = scale.y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        shown = f"{value:.{digits}f}" if digits < 6 else f"{value:.1e}"
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
        value += step
    every = max(1, math.ceil(round_step(max(scale.count - 1, 1), 6)))
    marked = [at for at in range(0, scale.count, every) if at + every / 2 < scale.count - 1]
    for at in (*marked, scale.count - 1):
        yield f'<text x="{scale.x(at):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{at + scale.first}</text>'


def lines(values: Sequence[float], scale: Scale, kind: str) -> Iterator[str]:
    """Through all values, interrupted where one is not finite."""
    for points in _runs(values, scale):
        yield f'<polyline class="{kind}" points="{points}"/>'


def uprights(marks: Sequence[tuple[float, str, str]], scale: Scale) -> Iterator[str]:
    """Marks from top to bottom, in order: where, with what words beside it, and of what CSS class.

    Words are on the right of their mark, or where the next mark would cross them and there is room, on its left;
    below those of the mark before where they would be upon them.
    """
    taken = float(LEFT)  # so far to the right is something
    ends = [*(scale.x(at) for at, *_ in marks[1:]), float(WIDTH - RIGHT)]
    for (at, words, kind), end in zip(marks, ends, strict=True):
        x, wide = scale.x(at), ASIDE + LETTER * len(words)
        left = x + wide > WIDTH or (x + wide > end and x - wide > taken)
        anchor, aside = ("end", -ASIDE) if left else ("start", ASIDE)
        y = TOP + 11 + (LINE if (x - wide if left else x) < taken else 0)
        taken = max(taken, x if left else x + wide)
        yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="{kind}" x="{x + aside:.1f}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def round_step(span: float, about: int) -> float:
    """A round distance of which about so many fit."""
    raw = span / about
    power = float(10 ** math.floor(math.log10(raw)))
    return next(step * power for step in STEPS if step * power >= raw * 0.999)


def _runs(values: Sequence[float], scale: Scale) -> Iterator[str]:
    """The places of values that follow each other and are finite."""
    stride = max(1, len(values) // MOST_POINTS)
    points: list[str] = []
    for at in range(0, len(values), stride):
        if math.isfinite(values[at]):
            points.append(f"{scale.x(at):.1f},{scale.y(values[at]):.1f}")
        elif points:
            yield " ".join(points)
            points = []
    if points:
        yield " ".join(points)
