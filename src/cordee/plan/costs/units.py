"""What kernels make of a generation's matrix units, before any calibration."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached(Fact):
    """By products, of what is usual for their dtype."""

    generation: str
    dtype: str
    dense: float = 1.0
    experts: float = 1.0
    """By those of experts, besides what is lost at their edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads(Fact):
    """That are reckoned at once where all look at the same short vectors of a few tokens."""

    generation: str
    heads: int


@cache
def reached(generation: str, dtype: str) -> Reached:
    """As usual, where nothing else is known."""
    table = rows(files("cordee.plan.costs") / "units.toml", Reached, table="product")
    theirs = (one for one in table if (one.generation, one.dtype) == (generation, dtype))
    usual = Reached(generation=generation, dtype=dtype, source="none is known")
    return next(theirs, usual)


@cache
def least_heads(generation: str) -> int:
    """With fewer, the rest is reckoned for nothing; 1 where nothing is known."""
    table = rows(files("cordee.plan.costs") / "units.toml", Heads, table="heads")
    return next((one.heads for one in table if one.generation == generation), 1)
