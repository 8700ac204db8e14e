"""Calibrations as rows: for a generation of chips, a software and a class of models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.calibration import Calibration
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.model import Model

C = TypeVar("C", Calibration, ServingCalibration)

ANY = "any"
NAMES = tuple(entry.name for entry in fields(Calibration))


@dataclass(frozen=True, slots=True)
class Kind:
    """What a calibration holds for."""

    generation: str
    stack: str = ANY
    model: str = ANY
    """"dense", "mixture" or any."""

    @property
    def words(self) -> str:
        return " ".join((self.generation, self.stack, self.model))


def kind_of(chip: Accelerator, stack: str, model: Model) -> Kind:
    """Of which kind a prediction is."""
    return Kind(chip.generation, stack, "mixture" if model.is_mixture else "dense")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted(Fact):
    """One calibration."""

    generation: str
    stack: str = ANY
    model: str = ANY
    split: int = 0
    """Which of the five splits it is for; 0: fitted on all groups."""
    results: int
    """On how many published results it was fitted."""
    values: dict[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(self.values.keys() - set(NAMES))
        if unknown:
            raise UsageError(f"values: {', '.join(unknown)}: known are {', '.join(NAMES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(Fact):
    """By how much steps are longer with a version of the software on a chip."""

    chip: str
    stack: str
    release: str = ""
    model: str
    """"dense" or "mixture"."""
    split: int = 0
    pace: float
    results: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrations:
    """Calibrations of one split."""

    fitted: Mapping[Kind, Calibration] = field(default_factory=dict)
    paces: Mapping[tuple[str, str, str, str], float] = field(default_factory=dict)
    """By chip, software, its version and class of models."""

    def find(self, kind: Kind, chip: str, release: str = "") -> Calibration:
        """The nearest: of this software and class of models, of the generation, or what is usual."""
        steps = (
            kind,
            Kind(kind.generation, kind.stack),
            Kind(kind.generation, ANY, kind.model),
            Kind(kind.generation),
        )
        found = next((self.fitted[step] for step in steps if step in self.fitted), None)
        if found is None:
            found = usual(self.fitted.values(), Calibration())
        pace = self.paces.get((chip, kind.stack, release, kind.model), 1.0)
        return replace(found, pace=pace)

    def knows(self, kind: Kind) -> bool:
        """Whether it was fitted on results of that generation, software and class of models."""
        return kind in self.fitted

    def knows_generation(self, kind: Kind) -> bool:
        """Whether it was fitted on results of that generation at all."""
        return Kind(kind.generation) in self.fitted


def usual(fitted: Iterable[C], plain: C) -> C:
    """The middle of all, for a generation of which nothing is published; `plain` where there is none."""
    known = list(fitted) or [plain]
    middle = len(known) // 2
    names = [entry.name for entry in fields(plain)]
    return replace(plain, **{n: sorted(getattr(one, n) for one in known)[middle] for n in names})


@cache
def calibration(split: int = 0) -> Calibrations:
    """Those that are shipped; `split` 0 is for use, 1 to 5 are for validation."""
    folder = files("cordee.plan.calibration")
    return read(folder / "training.toml", folder / "paces.toml", split)


def read(fits: Traversable, paces: Traversable, split: int = 0) -> Calibrations:
    """Calibrations in tables."""
    found = {
        Kind(row.generation, row.stack, row.model): Calibration(**row.values)
        for row in rows(fits, Fitted)
        if row.split == split
    }
    known = {
        (row.chip, row.stack, row.release, row.model): row.pace
        for row in rows(paces, Pace)
        if row.split == split
    }
    return Calibrations(fitted=found, paces=known)
