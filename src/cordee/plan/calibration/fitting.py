"""Fits calibrations to measured speeds: a generation first, then each software and class of models."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import fmean
from typing import TypeVar

from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.least_squares import Problem, solve
from cordee.plan.calibration.table import Calibrations, Kind
from cordee.plan.costs.calibration import BOUNDS, Calibration
from cordee.plan.costs.seconds import Costs
from cordee.plan.training import Work, step

K = TypeVar("K", bound=Hashable)

SPREADS = {
    "matmul": 0.25, "matmul_fp8": 0.3, "matmul_fp4": 0.3, "expert": 0.3, "edge": 1.0,
    "attention": 0.4, "attention_narrow": 0.2, "vector": 0.5, "kernel_s": 0.7, "host_s": 0.7,
    "link": 0.3, "network": 0.3, "exposed": 0.7, "step_s": 1.0, "scale": 0.7,
}  # fmt: skip
"""How far logarithms of these may be from what is usual without surprise."""

FEWEST = 4
"""Measurements from which on a kind has a calibration of its own."""
SHRINK = 2.0
"""As many measurements as this weigh against a version's own pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A speed that was measured, with the work that it took; several works where it was tuned."""

    kind: Kind
    chip: Accelerator
    release: str
    works: tuple[Work, ...]
    tokens_per_s_per_chip: float

    def predicted(self, calibration: Calibration) -> float:
        """Tokens a second of a chip."""
        costs = Costs(self.chip, calibration, self.works[0].job.program.dtype)
        return max(step(work, costs).tokens_per_s_per_chip for work in self.works)

    def residual(self, calibration: Calibration) -> float:
        """The logarithm of predicted by measured."""
        return log(self.predicted(calibration) / self.tokens_per_s_per_chip)


def fit_all(measured: Sequence[Measured]) -> Calibrations:
    """Calibrations for every kind that is measured often enough, and the pace of each version."""
    fitted: dict[Kind, Calibration] = {}
    by_generation = _by(measured, lambda one: Kind(one.kind.generation))
    for generation, theirs in by_generation.items():
        fitted[generation] = fit(theirs, Calibration())
    for kind, theirs in _by(measured, lambda one: one.kind).items():
        if len(theirs) >= FEWEST:
            fitted[kind] = fit(theirs, fitted[Kind(kind.generation)])
    calibrations = Calibrations(fitted=fitted)
    return replace(calibrations, paces=_paces(measured, calibrations))


def fit(
    measured: Sequence[Measured],
    start: Calibration,
    *,
    belief: float = 0.05,
    outlier: float = 0.06,
) -> Calibration:
    """The calibration that explains these best, near `start` where they say little."""
    names = _names(measured)

    def made(at: Sequence[float]) -> Calibration:
        return replace(start, **{n: exp(v) for n, v in zip(names, at, strict=True)})

    def residuals(at: list[float]) -> list[float]:
        calibration = made(at)
        return [one.residual(calibration) for one in measured]

    problem = Problem(
        residuals=residuals,
        start=[log(getattr(start, name)) for name in names],
        spread=[SPREADS[name] for name in names],
        low=[log(BOUNDS[name][0]) for name in names],
        high=[log(BOUNDS[name][1]) for name in names],
        belief=belief,
        outlier=outlier,
    )
    return made(solve(problem))


def _names(measured: Sequence[Measured]) -> list[str]:
    """Which unknowns these measurements say anything about."""
    dtypes = {one.works[0].job.program.dtype for one in measured}
    layouts = [one.works[0].job.layout for one in measured]
    silent = set()
    silent |= {"matmul_fp8"} if "fp8" not in dtypes else set()
    silent |= {"matmul_fp4"} if "fp4" not in dtypes else set()
    silent |= (
        {"expert"} if not any(one.works[0].job.model.is_mixture for one in measured) else set()
    )
    silent |= {"network", "scale"} if max(layout.chips for layout in layouts) <= 8 else set()
    return [name for name in SPREADS if name not in silent]


def _by(measured: Iterable[Measured], key: Callable[[Measured], K]) -> Mapping[K, list[Measured]]:
    found: defaultdict[K, list[Measured]] = defaultdict(list)
    for one in measured:
        found[key(one)].append(one)
    return found


def _paces(
    measured: Sequence[Measured], calibrations: Calibrations
) -> dict[tuple[str, str, str], float]:
    """What is left over for a version on a chip, the less of it the fewer measurements there are."""
    versions = _by(measured, lambda one: (one.chip.name, one.kind.stack, one.release))
    found = {}
    for version, theirs in versions.items():
        left = fmean(
            max(min(one.residual(calibrations.find(one.kind, one.chip.name)), 0.3), -0.3)
            for one in theirs
        )
        found[version] = exp(left * len(theirs) / (len(theirs) + SHRINK))
    return found
