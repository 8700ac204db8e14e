"""What all programs of a software do alike, beside the layout."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.plan.layout import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack(Fact):
    """A software."""

    stack: str
    attention: str = ""
    gradient_bytes: int = 4
    overlaps_stages: bool = False
    dispatch: str = "exchange"
    narrow_weights: bool = False

    def program(self, plain: Program) -> Program:
        """`plain`, with what it says."""
        return replace(
            plain,
            attention=self.attention,
            gradient_bytes=self.gradient_bytes,
            overlaps_stages=self.overlaps_stages,
            dispatch=self.dispatch,
            narrow_weights=self.narrow_weights,
        )


@cache
def stacks() -> Mapping[str, Stack]:
    """Those of which something is known, by name."""
    table = files("cordee.plan.calibration") / "stacks.toml"
    return {one.stack: one for one in rows(table, Stack)}


def with_stack(plain: Program, stack: str) -> Program:
    """`plain`, as programs of that software are."""
    known = stacks().get(stack)
    return known.program(plain) if known else plain
