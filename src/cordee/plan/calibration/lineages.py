"""Which software is made of the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage(Fact):
    """What a software is made of."""

    stack: str
    lineage: str


def lineage_of(stack: str) -> str:
    """What that software has in common with others; itself where nothing is known."""
    return _lineages().get(stack, stack)


@cache
def _lineages() -> Mapping[str, str]:
    table = files("cordee.plan.calibration") / "lineages.toml"
    return {row.stack: row.lineage for row in rows(table, Lineage)}
