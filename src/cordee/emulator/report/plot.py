"""Plots as inline SVG that take their colours from the page."""

import itertools
from collections.abc import Sequence
from html import escape

from cordee.core.pages.numbers import count_text
from cordee.emulator.report.numbers import bytes_text
from cordee.emulator.report.summary import MemorySeries
from cordee.emulator.trace.records import Memory

WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 78, 14, 14, 38
POINTS = 600  # more cannot be told apart at this width

# From this share of the capacity on, the capacity is worth a line in the plot.
CAPACITY_SHARE = 0.25


def memory_plot(series: MemorySeries) -> str:
    """Allocated and reserved memory over the operators that ran."""
    samples = _thinned(series.samples)
    capacity = series.chip.capacity_bytes
    highest = max(series.peak_reserved_bytes, series.peak_bytes, 1)
    with_capacity = highest > CAPACITY_SHARE * capacity
    top = (capacity if with_capacity else highest) * 1.05
    last = max(samples[-1].number, 1)
    x = _Scale(0, last, LEFT, WIDTH - RIGHT)
    y = _Scale(0, top, HEIGHT - BOTTOM, TOP)
    parts = [
        *_grid(y, last, x),
        _area([(x(m.number), y(m.reserved_bytes)) for m in samples], "reserved", y(0)),
        _area([(x(m.number), y(m.allocated_bytes)) for m in samples], "allocated", y(0)),
    ]
    if with_capacity:
        parts.append(
            f'<line class="capacity" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(capacity):.1f}" y2="{y(capacity):.1f}"/>'
            f'<text class="capacity-text" x="{WIDTH - RIGHT}" y="{y(capacity) - 4:.1f}" text-anchor="end">capacity</text>'
        )
    title = f"memory of {series.label}: at most {bytes_text(series.peak_bytes)} in tensors"
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


class _Scale:
    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start = low, start
        self.factor = (end - start) / (high - low)
        self.high = high

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) * self.factor


def _thinned(samples: Sequence[Memory]) -> list[Memory]:
    """At most `POINTS` samples: of each stretch the one that holds most, so that no peak is lost."""
    if len(samples) <= POINTS:
        return list(samples)
    step = len(samples) / POINTS
    stretches = (samples[int(i * step) : int((i + 1) * step)] for i in range(POINTS))
    return [max(stretch, key=lambda m: m.allocated_bytes) for stretch in stretches if stretch]


def _area(points: list[tuple[float, float]], kind: str, base: float) -> str:
    steps = [f"{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (_, before), (across, now) in itertools.pairwise(points):
        steps += [f"{across:.1f},{before:.1f}", f"{across:.1f},{now:.1f}"]
    line = " ".join(steps)
    area = f"{points[0][0]:.1f},{base:.1f} {line} {points[-1][0]:.1f},{base:.1f}"
    return (
        f'<polygon class="{kind}-area" points="{area}"/><polyline class="{kind}" points="{line}"/>'
    )


def _grid(y: _Scale, last: int, x: _Scale) -> list[str]:
    parts = []
    for value in _ticks(y.high, 4, 2):
        at = y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{bytes_text(value)}</text>'
        )
    for value in _ticks(last, 6, 10):
        at = x(value)
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count_text(int(value))}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">operators run</text>'
    )
    return parts


def _ticks(highest: float, count: int, base: int) -> list[float]:
    """Round values from 0 to `highest`; for base 2 in steps that are powers of two."""
    step = 1.0
    factors = (2.0,) if base == 2 else (2.0, 2.5, 2.0)
    i = 0
    while highest / step > count:
        step *= factors[i % len(factors)]
        i += 1
    return [step * k for k in range(int(highest / step) + 1)]
