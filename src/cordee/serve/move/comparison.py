"""Two answers to one request, of two pools, compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NEAR = 0.25
"""Logarithms of one token's probability that differ by no more are the same but for rounding."""
NEAR_MEAN = 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is the same in two answers, and what is not."""

    request: str
    exact: bool
    """Whether the tokens are the same."""
    divergence: int | None
    """The first position at which they are not."""
    distance: float | None
    """There, how differently the two see the first answer's token, in logarithms."""
    mean_distance: float | None
    """The same over all tokens of the first answer."""
    lengths: tuple[int, int]
    whole_s: tuple[float, float]
    refusal: str | None
    """What the second pool said instead of an answer."""
    texts: tuple[str, str] = ("", "")

    @property
    def agrees(self) -> bool:
        """The same tokens, or others only where the choice was as good as even."""
        if self.refusal is not None:
            return False
        if self.exact:
            return True
        if self.distance is None or self.mean_distance is None:
            return False
        return self.distance <= NEAR and self.mean_distance <= NEAR_MEAN


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Where two answers part; None where they are the same."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return None if len(one) == len(other) else min(len(one), len(other))


def distances(one: Sequence[float | None], other: Sequence[float | None]) -> list[float]:
    """How differently two pools see the same tokens."""
    return [
        abs(a - b) if a is not None and b is not None else math.inf
        for a, b in zip(one, other, strict=False)
    ]
