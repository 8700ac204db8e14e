"""What programs did that published speeds came from, where the publication leads to its recipes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from cordee.core.facts import Fact, rows
from cordee.plan.layout import Program

LAYOUT = (
    "tensor",
    "pipeline",
    "chunks",
    "context",
    "expert",
    "micro_batch",
    "batch",
    "chips",
    "zero",
)
"""What tells recipes of one model apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Fact):
    """One recipe, in all versions that have it."""

    stack: str
    """The software, up to its version."""
    model: str
    chip: str
    precision: str
    """As in a result: dtype, and how it is scaled."""
    releases: list[str]
    layout: list[int]
    """Values of `LAYOUT`."""
    gradient_bytes: int = 2
    overlaps_experts: bool = False
    dispatch: str = "exchange"
    narrow_attention: bool = False

    def fits(self, stack: str, model: str, chip: str) -> bool:
        """Whether it is for that model on that chip."""
        return stack.startswith(self.stack) and model == self.model and chip == self.chip

    def likeness(self, layout: Sequence[Any], release: str) -> tuple[bool, bool, int]:
        """How much a result is like it: the same layout, the same version, how many fields."""
        alike = sum(a == b for a, b in zip(self.layout, layout, strict=True))
        return alike == len(layout), release in self.releases, alike

    def program(self, plain: Program) -> Program:
        """`plain`, with what it says."""
        return replace(
            plain,
            gradient_bytes=self.gradient_bytes,
            overlaps_experts=self.overlaps_experts,
            dispatch=self.dispatch,
            narrow_attention=self.narrow_attention,
        )


@cache
def recipes() -> tuple[Recipe, ...]:
    """Every recipe, in the order of the table."""
    return tuple(rows(files("cordee.plan.validation") / "recipes.toml", Recipe))
