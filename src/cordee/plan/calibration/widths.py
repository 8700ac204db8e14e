"""How far predictions are off: intervals of kinds, from validation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.plan.calibration.table import ANY, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Width(Fact):
    """The interval of a kind."""

    generation: str
    stack: str
    model: str
    off: float
    """The logarithm of predicted by measured stays within this in 9 of 10 groups."""


@cache
def widths() -> Mapping[Kind, float]:
    """Those that are shipped."""
    table = files("cordee.plan.calibration") / "widths.toml"
    return {Kind(row.generation, row.stack, row.model): row.off for row in rows(table, Width)}


def nearest(known: Mapping[Kind, float], kind: Kind) -> tuple[float, Kind]:
    """The interval of the nearest kind that has one, and which that is."""
    return next((known[level], level) for level in levels_of(kind) if level in known)


def levels_of(kind: Kind) -> Iterator[Kind]:
    """The kind itself, then larger and larger ones that it is part of."""
    yield kind
    yield Kind(kind.generation, ANY, kind.model)
    yield Kind("", ANY, kind.model)
    yield Kind("")
