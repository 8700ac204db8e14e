"""The losses of two runs as lines in one drawing: a line for the CPU, rings on it for the chip."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from cordee.core.pages.numbers import plural
from cordee.port.prove.losses import LossComparison

WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 30  # room for the scales
MOST_RINGS = 40  # more would hide the line that they lie on
MOST_POINTS = 2000
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def curves(loss: LossComparison) -> Markup:
    """Both runs over the values in the order they were printed; empty where nothing is finite."""
    finite = [value for side in (loss.chip, loss.cpu) for value in side if math.isfinite(value)]
    if not finite:
        return Markup("")
    scale = _Scale(max(len(loss.chip), len(loss.cpu)), min(finite), max(finite))
    words = f"{loss.name}: {plural(len(loss.chip), 'value')} on the virtual chip, {len(loss.cpu)} on the CPU"
    parts = [
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{Markup.escape(words)}">',
        *_grid(scale),
        *(f'<polyline class="cpu" points="{line}"/>' for line in _lines(loss.cpu, scale)),
        *_rings(loss.chip, scale),
        "</svg>",
    ]
    return Markup("".join(parts))


class _Scale:
    """From values to places in the drawing."""

    def __init__(self, count: int, least: float, most: float) -> None:
        self.count = count
        room = (most - least) * 0.06 or abs(most) * 0.1 or 1.0
        self.least, self.most = least - room, most + room

    def x(self, at: int) -> float:
        """Of the value with this number; of a single one, the middle."""
        wide = WIDTH - LEFT - RIGHT
        return LEFT + (wide * at / (self.count - 1) if self.count > 1 else wide / 2)

    def y(self, value: float) -> float:
        """Of a value."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.most - value) / (self.most - self.least)


def _grid(scale: _Scale) -> Iterator[str]:
    step = _step(scale.most - scale.least, 4)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:e}".startswith("2.5") else 0))  # fmt: skip
    value = math.ceil(scale.least / step) * step
    while value <= scale.most:
        y = scale.y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        shown = f"{value:.{digits}f}" if digits < 6 else f"{value:.1e}"
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
        value += step
    every = max(1, math.ceil(_step(max(scale.count - 1, 1), 6)))
    marked = [at for at in range(0, scale.count, every) if at + every / 2 < scale.count - 1]
    for at in (*marked, scale.count - 1):
        yield f'<text x="{scale.x(at):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{at + 1}</text>'


def _step(span: float, about: int) -> float:
    """A round distance of which about so many fit."""
    raw = span / about
    power = float(10 ** math.floor(math.log10(raw)))
    return next(step * power for step in STEPS if step * power >= raw * 0.999)


def _lines(values: Sequence[float], scale: _Scale) -> Iterator[str]:
    """The places of values, interrupted where one is not finite."""
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


def _rings(values: Sequence[float], scale: _Scale) -> Iterator[str]:
    """The chip's values: a thin line, and rings as often as there is room for."""
    for line in _lines(values, scale):
        yield f'<polyline class="chip" points="{line}"/>'
    every = max(1, math.ceil(len(values) / MOST_RINGS))
    for at in range(0, len(values), every):
        if math.isfinite(values[at]):
            x, y = scale.x(at), scale.y(values[at])
            yield f'<circle class="chip" cx="{x:.1f}" cy="{y:.1f}" r="4.2"><title>{at + 1}: {values[at]:.6g}</title></circle>'
