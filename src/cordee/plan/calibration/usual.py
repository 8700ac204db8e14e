"""Which software one trains with on a generation of chips, where the user does not say."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.plan.calibration.table import ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual(Fact):
    """The software of a generation of chips."""

    generation: str
    stack: str


@cache
def usual_stack(generation: str) -> str:
    """The software that a generation of chips is trained with."""
    table = files("cordee.plan.calibration") / "usual.toml"
    found = {row.generation: row.stack for row in rows(table, Usual)}
    return found.get(generation, ANY)
