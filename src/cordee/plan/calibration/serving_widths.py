"""How far predictions of inference are off: intervals of kinds and metrics, from validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.plan.calibration.table import Kind
from cordee.plan.calibration.widths import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingWidth(Fact):
    """The interval of a kind, for a version of an engine that nothing was fitted to."""

    metric: str
    generation: str
    stack: str
    model: str
    off: float
    """The logarithm of predicted by measured stays within this in 9 of 10 groups."""


@cache
def serving_widths(metric: str) -> Mapping[Kind, float]:
    """Those that are shipped."""
    table = files("cordee.plan.calibration") / "serving_widths.toml"
    return {
        Kind(row.generation, row.stack, row.model): row.off
        for row in rows(table, ServingWidth)
        if row.metric == metric
    }


def nearest_off(metric: str, kind: Kind) -> tuple[float, Kind]:
    """The interval of the nearest kind that has one, and which that is."""
    return nearest(serving_widths(metric), kind)
