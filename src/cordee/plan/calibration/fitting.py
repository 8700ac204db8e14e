"""Fits calibrations to measured speeds: a generation first, then each software and class of models."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from statistics import fmean
from typing import TypeVar

from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.least_squares import Problem, solve
from cordee.plan.calibration.table import Calibrations, Kind
from cordee.plan.costs.calibration import BOUNDS, Calibration
from cordee.plan.costs.seconds import Costs
from cordee.plan.training import Step, Work, step

K = TypeVar("K", bound=Hashable)

SPREADS = {
    "matmul": 0.25, "matmul_fp8": 0.3, "matmul_fp4": 0.3, "expert": 0.3, "edge": 1.0,
    "attention": 0.4, "attention_narrow": 0.2, "vector": 0.5, "kernel_s": 0.7, "host_s": 0.7,
    "link": 0.3, "network": 0.3, "exposed": 0.7, "step_s": 1.0, "scale": 0.7,
}  # fmt: skip
"""How far logarithms of these may be from what is usual without surprise."""

FEWEST = 4
"""Measurements from which on a kind has a calibration of its own."""
PART = 1.0
"""What a part of a step weighs in a fit, beside the whole."""
SMALLEST = 0.01
"""Of a step: smaller parts say nothing."""
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
    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds of a step by kind of work, where a profiler says so."""

    def predicted(self, calibration: Calibration) -> float:
        """Tokens a second of a chip."""
        costs = Costs(self.chip, calibration, self.works[0].job.program.dtype)
        return max(step(work, costs).tokens_per_s_per_chip for work in self.works)

    def predicted_parts(self, calibration: Calibration) -> dict[str, float]:
        """Seconds of a step by kind of work, as a profiler has them."""
        costs = Costs(self.chip, calibration, self.works[0].job.program.dtype)
        return profiled(step(self.works[0], costs))

    def residual(self, calibration: Calibration) -> float:
        """The logarithm of predicted by measured."""
        return log(self.predicted(calibration) / self.tokens_per_s_per_chip)

    def residuals(self, calibration: Calibration) -> list[float]:
        """That of the whole, and weighted ones of the parts."""
        found = [self.residual(calibration)]
        if self.parts:
            predicted, least = (
                self.predicted_parts(calibration),
                SMALLEST * sum(self.parts.values()),
            )
            found += [
                PART * log(max(predicted[name], least) / seconds)
                for name, seconds in self.parts.items()
                if seconds > least
            ]
        return found


def profiled(one: Step) -> dict[str, float]:
    """Parts of a step as they show on a chip: the optimizer is vector kernels, the rest is waiting."""
    parts = one.parts
    found = {
        "matrix products": parts["matrix products"],
        "attention": parts["attention"],
        "vector kernels": parts["vector kernels"] + parts["optimizer"],
        "communication": parts["collectives"] + parts["gradients"],
    }
    return found | {"waiting": max(one.seconds - sum(found.values()), 0.0)}


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
        return [value for one in measured for value in one.residuals(calibration)]

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
