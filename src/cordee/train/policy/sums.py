"""What members that have different parts of a gradient say of them, and what the whole has by that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """What a member says of its part of a step's gradient."""

    square: float | None
    """The sum of its squares, of numbers that are nowhere else; None: it is not finite."""
    loss: float | None
    """The sum over the shards; None where the loss is not computed at its place."""


@dataclass(frozen=True, slots=True)
class Total:
    """What a step has."""

    norm: float | None
    """Of the gradient; None: it is not finite."""
    loss: float | None


def total_of(parts: Sequence[Part | None]) -> Total | None:
    """Of the members of one team: others with the same place say the same. None where each has the whole."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    squares = [part.square for part in found if part.square is not None]
    losses = [part.loss for part in found if part.loss is not None]
    norm = math.sqrt(math.fsum(squares)) if len(squares) == len(found) else None
    return Total(norm, math.fsum(losses) / len(losses) if losses else None)
