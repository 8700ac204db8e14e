"""Calibrations of inference as rows: for a generation of chips, an engine, a class of models, a family."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.calibration.table import ANY, Kind, usual
from cordee.plan.costs.serving_calibration import ServingCalibration

SERVING_NAMES = tuple(entry.name for entry in fields(ServingCalibration))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFitted(Fact):
    """One calibration."""

    generation: str
    stack: str = ANY
    model: str = ANY
    family: str = ""
    """A version of an engine on one kind of chip, or one model under it, where it holds for no more than that."""
    split: int = 0
    """0: fitted on all groups, for use; others leave groups out."""
    results: int
    values: dict[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(self.values.keys() - set(SERVING_NAMES))
        if unknown:
            raise UsageError(f"values: {', '.join(unknown)}: known are {', '.join(SERVING_NAMES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCalibrations:
    """Calibrations of one split."""

    fitted: Mapping[Kind, ServingCalibration] = field(default_factory=dict)
    families: Mapping[str, ServingCalibration] = field(default_factory=dict)

    def find(self, kind: Kind, family: str = "") -> ServingCalibration:
        """The nearest: of the family, of its version of the engine, and so on up to the usual."""
        for name in (family, family.rpartition("/")[0]):
            if name in self.families:
                return self.families[name]
        steps = (kind, Kind(kind.generation))
        found = next((self.fitted[step] for step in steps if step in self.fitted), None)
        return found or usual(self.fitted.values(), ServingCalibration())

    def knows(self, kind: Kind) -> bool:
        """Whether it was fitted on results of that generation, engine and class of models."""
        return kind in self.fitted

    def knows_generation(self, kind: Kind) -> bool:
        """Whether it was fitted on results of that generation at all."""
        return Kind(kind.generation) in self.fitted


@cache
def serving_calibration(split: int = 0) -> ServingCalibrations:
    """Those that are shipped."""
    table = files("cordee.plan.calibration") / "serving.toml"
    found = [row for row in rows(table, ServingFitted) if row.split == split]
    return ServingCalibrations(
        fitted={
            Kind(row.generation, row.stack, row.model): ServingCalibration(**row.values)
            for row in found
            if not row.family
        },
        families={row.family: ServingCalibration(**row.values) for row in found if row.family},
    )
