"""How known engines fill their passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.plan.deployment import Scheduling


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts(Fact):
    """One engine, as it comes."""

    stack: str
    chunk: int
    mixed: bool
    most: int
    reserved: float


@cache
def engines() -> Mapping[str, Scheduling]:
    """Every engine that is known, by its name."""
    table = files("cordee.plan.serving") / "engines.toml"
    return {
        row.stack: Scheduling(
            chunk=row.chunk, mixed=row.mixed, most=row.most, reserved=row.reserved
        )
        for row in rows(table, EngineFacts)
    }
