"""A curve over steps that never grows long: where it would, neighbours become one point."""

from dataclasses import dataclass

MOST = 1200


@dataclass(slots=True)
class Point:
    """Some steps in a row."""

    first: int
    last: int
    began_s: float
    """When the step before the first one was made."""
    ended_s: float
    losses: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def shown(self) -> list[float | None]:
        """First and last step, when they began and ended, and mean, least and greatest loss."""
        loss = [self.total / self.losses, self.least, self.most] if self.losses else [None] * 3
        return [self.first, self.last, round(self.began_s, 3), round(self.ended_s, 3), *loss]


class Curve:
    """Steps, when they were made, and their losses."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._each = 1
        """So many steps are a point."""

    def add(self, step: int, before_s: float, now_s: float, loss: float | None) -> None:
        """A step was made. One that was made before is made again: what followed it is taken back."""
        while self.points and self.points[-1].first >= step:
            self.points.pop()
        last = self.points[-1] if self.points else None
        if last is None or last.last - last.first + 1 >= self._each:
            last = Point(step, step, before_s, now_s)
            self.points.append(last)
        last.last, last.ended_s = step, now_s
        if loss is not None:
            last.losses += 1
            last.total += loss
            last.least, last.most = min(last.least, loss), max(last.most, loss)
        if len(self.points) > MOST:
            self._halve()

    def _halve(self) -> None:
        self._each *= 2
        pairs = [self.points[at : at + 2] for at in range(0, len(self.points), 2)]
        self.points = [_joined(pair[0], pair[-1]) if len(pair) == 2 else pair[0] for pair in pairs]


def _joined(one: Point, other: Point) -> Point:
    return Point(
        one.first,
        other.last,
        one.began_s,
        other.ended_s,
        one.losses + other.losses,
        one.total + other.total,
        min(one.least, other.least),
        max(one.most, other.most),
    )
