"""Which engine one serves with on a generation of chips, where the user does not say."""

from functools import cache
from importlib.resources import files

from cordee.core.facts import rows
from cordee.plan.calibration.table import ANY
from cordee.plan.calibration.usual import Usual


@cache
def usual_engine(generation: str) -> str:
    """The engine of a generation of chips."""
    table = files("cordee.plan.calibration") / "serving_usual.toml"
    found = {row.generation: row.stack for row in rows(table, Usual)}
    return found.get(generation, ANY)
