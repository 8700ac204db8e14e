"""Divides a rectangle into others of given areas, each as near to a square as can be.

The method is that of Bruls, Huizing and van Wijk, "Squarified Treemaps", 2000, section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in the units of a drawing."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width by height."""
        return self.width * self.height

    def within(self, margin: float, top: float) -> "Box":
        """What is left inside a frame that is `top` wide above."""
        return Box(
            self.x + margin,
            self.y + top,
            max(self.width - 2 * margin, 0),
            max(self.height - top - margin, 0),
        )


def divided(box: Box, sizes: Sequence[float]) -> list[Box]:
    """One box for each size; sizes are positive and fall."""
    if not sizes or box.area <= 0:
        return [Box(box.x, box.y, 0, 0) for _ in sizes]
    scale = box.area / sum(sizes)
    areas = [size * scale for size in sizes]
    done: list[Box] = []
    free, start = box, 0
    while start < len(areas):
        end = _row_end(areas, start, min(free.width, free.height))
        row = areas[start:end]
        done += _row(free, row)
        free = _rest(free, sum(row))
        start = end
    return done


def _row_end(areas: Sequence[float], start: int, side: float) -> int:
    """How many areas stand side by side: as long as the worst of them gets no thinner."""
    total, end = areas[start], start + 1
    while end < len(areas):
        wider = total + areas[end]
        if _worst(areas[start], areas[end], wider, side) > _worst(
            areas[start], areas[end - 1], total, side
        ):
            break
        total, end = wider, end + 1
    return end


def _worst(largest: float, smallest: float, total: float, side: float) -> float:
    """The most that any of a row is longer than wide."""
    if smallest <= 0 or side <= 0:
        return float("inf")
    return max(side**2 * largest / total**2, total**2 / (side**2 * smallest))


def _row(free: Box, row: Sequence[float]) -> list[Box]:
    total, along, boxes = sum(row), 0.0, []
    for area in row:
        if free.width >= free.height:
            thick = total / free.height
            boxes.append(Box(free.x, free.y + along, thick, area / thick))
            along += area / thick
        else:
            thick = total / free.width
            boxes.append(Box(free.x + along, free.y, area / thick, thick))
            along += area / thick
    return boxes


def _rest(free: Box, taken: float) -> Box:
    if free.width >= free.height:
        thick = taken / free.height
        return Box(free.x + thick, free.y, max(free.width - thick, 0), free.height)
    thick = taken / free.width
    return Box(free.x, free.y + thick, free.width, max(free.height - thick, 0))
