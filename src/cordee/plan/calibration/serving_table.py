"""Calibrations of inference as rows: for a generation of chips, an engine, a class of models, a family."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.calibration.table import ANY, Kind, usual
from cordee.plan.costs.serving_calibration import SERVING_BOUNDS, ServingCalibration

SERVING_NAMES = tuple(entry.name for entry in fields(ServingCalibration))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFitted(Fact):
    """One calibration."""

    generation: str
    stack: str = ANY
    model: str = ANY
    family: str = ""
    """A version of an engine on one kind of chip, or one model under it, where it holds for no more than that."""
    served: str = ""
    """One model under an engine on a generation of chips, where it holds for no more than that."""
    split: int = 0
    """0: fitted on all groups, for use; others leave groups out."""
    results: int
    values: dict[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(self.values.keys() - set(SERVING_NAMES))
        if unknown:
            raise UsageError(f"values: {', '.join(unknown)}: known are {', '.join(SERVING_NAMES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingKnown(Fact):
    """What there are results of."""

    split: int
    versions: list[str]
    """Of engines, each on one kind of chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCalibrations:
    """Calibrations of one split."""

    fitted: Mapping[Kind, ServingCalibration] = field(default_factory=dict)
    families: Mapping[str, ServingCalibration] = field(default_factory=dict)
    models: Mapping[str, ServingCalibration] = field(default_factory=dict)
    """Of a model under an engine on a generation of chips, in whatever version."""
    versions: Collection[str] = ()
    """Of which there are results."""

    def find(self, kind: Kind, family: str = "") -> ServingCalibration:
        """The nearest: of the family; of its version, as far off as its model is in others; and so on up to the usual.

        Of a version that is new its kind says more than the same model in others.
        """
        if family in self.families:
            return self.families[family]
        above = self._of_kind(kind)
        if family.rpartition("/")[0] not in self.versions:
            return above
        model = self.models.get(model_of(kind, family), above)
        return off(self.of_version(kind, family), above, model)

    def of_version(self, kind: Kind, family: str) -> ServingCalibration:
        """The nearest for all models of that version: its own, and so on up to the usual."""
        return self.families.get(family.rpartition("/")[0]) or self._of_kind(kind)

    def _of_kind(self, kind: Kind) -> ServingCalibration:
        steps = (kind, Kind(kind.generation))
        found = next((self.fitted[step] for step in steps if step in self.fitted), None)
        return found or usual(self.fitted.values(), ServingCalibration())

    def knows(self, kind: Kind) -> bool:
        """Whether it was fitted on results of that generation, engine and class of models."""
        return kind in self.fitted

    def knows_generation(self, kind: Kind) -> bool:
        """Whether it was fitted on results of that generation at all."""
        return Kind(kind.generation) in self.fitted


def model_of(kind: Kind, family: str) -> str:
    """The name of a family's model under its engine on a generation of chips."""
    return "/".join((kind.generation, kind.stack, family.rpartition("/")[2]))


def off(
    base: ServingCalibration, above: ServingCalibration, found: ServingCalibration
) -> ServingCalibration:
    """As many times off `base` as `found` is off `above`, within bounds."""
    if base == above:
        return found
    values = {}
    for name, (low, high) in SERVING_BOUNDS.items():
        times = getattr(found, name) / getattr(above, name)
        values[name] = min(max(getattr(base, name) * times, low), high)
    return replace(base, **values)


@cache
def serving_calibration(split: int = 0) -> ServingCalibrations:
    """Those that are shipped."""
    table = files("cordee.plan.calibration") / "serving.toml"
    found = [row for row in rows(table, ServingFitted) if row.split == split]
    return ServingCalibrations(
        fitted={
            Kind(row.generation, row.stack, row.model): ServingCalibration(**row.values)
            for row in found
            if not row.family and not row.served
        },
        families={row.family: ServingCalibration(**row.values) for row in found if row.family},
        models={row.served: ServingCalibration(**row.values) for row in found if row.served},
        versions=frozenset(
            version
            for row in rows(table, ServingKnown, table="known")
            if row.split == split
            for version in row.versions
        ),
    )
