"""Fits calibrations to measured speeds: a generation first, then each software and class of models."""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, log
from statistics import fmean

from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.groups import grouped
from cordee.plan.calibration.least_squares import Problem, solve
from cordee.plan.calibration.lineages import lineage_of
from cordee.plan.calibration.table import ANY, Calibrations, Kind
from cordee.plan.costs.calibration import BOUNDS, Calibration
from cordee.plan.costs.seconds import Costs
from cordee.plan.step_work import Work
from cordee.plan.training import Step, step

SPREADS = {
    "matmul": 0.15, "matmul_fp8": 0.2, "matmul_fp4": 0.3, "expert": 0.2,
    "edge": 0.5, "attention": 0.2, "attention_narrow": 0.2, "vector": 0.35, "kernel_s": 0.5,
    "host_s": 0.7, "link": 0.25, "network": 0.2, "exposed": 0.5,
    "exposed_weights": 0.4, "step_s": 0.7, "scale": 0.5,
}  # fmt: skip
"""How far logarithms of these may be from what is usual without surprise."""

EXPERTS = ("expert", "host_s")
"""What mixtures say, given what dense models do: how fast experts are, and a host that starts them."""
FEWEST = 4
"""Measurements from which on a kind has a calibration of its own."""
PART = 1.0
"""What a part of a step weighs in a fit, beside the whole."""
SMALLEST = 0.01
"""Of a step: smaller parts say nothing."""
ALIKE = 0.5
"""How much less one of a group counts the more there are: 0 not at all, 1 so that a group is as one."""
FAR = 0.05
"""How many times a surprise about a generation of chips counts beside the others."""
NEAR = 0.16
"""The same of a class of models or a software, given what the generation is like."""
APART = 0.05
"""How far logarithms of speeds of software on a generation of chips may be from each other without surprise."""
OUTLIER = 0.06
"""From which residual on a result counts less, of dense models."""
LOOSE = 0.2
"""The same of mixtures, whose results are further apart."""
ROUNDS = 15
"""Of a fit: more change nothing that shows."""
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
    group: str = ""
    """Measurements that err alike: those of one model under one software."""

    def predicted(self, calibration: Calibration) -> float:
        """Tokens a second of a chip."""
        costs = Costs(self.chip, calibration, self.works[0].job.program)
        return max(step(work, costs).tokens_per_s_per_chip for work in self.works)

    def predicted_parts(self, calibration: Calibration) -> dict[str, float]:
        """Seconds of a step by kind of work, as a profiler has them."""
        costs = Costs(self.chip, calibration, self.works[0].job.program)
        return profiled(step(self.works[0], costs))

    def residual(self, calibration: Calibration) -> float:
        """The logarithm of predicted by measured."""
        return log(self.predicted(calibration) / self.tokens_per_s_per_chip)

    def residuals(self, calibration: Calibration, predicted: float) -> list[float]:
        """That of the whole, for which so much is predicted, and weighted ones of the parts."""
        found = [log(predicted / self.tokens_per_s_per_chip)]
        if self.parts:
            parts, least = self.predicted_parts(calibration), SMALLEST * sum(self.parts.values())
            found += [
                PART * log(max(parts[name], least) / seconds)
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
    """For every kind that is measured often enough, and the pace of each version."""
    fitted: dict[Kind, Calibration] = {}
    by_class = grouped(measured, lambda one: Kind(one.kind.generation, ANY, one.kind.model))
    # Dense models say what a chip does; mixtures only what experts cost on top.
    for kind in sorted(by_class, key=lambda kind: kind.model):
        plain = fitted.get(Kind(kind.generation))
        fitted[kind] = (
            fit(by_class[kind], plain, belief=NEAR, outlier=LOOSE, only=EXPERTS)
            if plain
            else fit(by_class[kind], Calibration(), apart=True)
        )
        fitted.setdefault(Kind(kind.generation), fitted[kind])
    for kind, theirs in grouped(measured, lambda one: one.kind).items():
        if len(theirs) >= FEWEST:
            start = fitted[Kind(kind.generation, ANY, kind.model)]
            only, outlier = (EXPERTS, LOOSE) if kind.model == "mixture" else ((), OUTLIER)
            fitted[kind] = fit(theirs, start, belief=NEAR, outlier=outlier, only=only)
    calibrations = Calibrations(fitted=fitted)
    return replace(calibrations, paces=_paces(measured, calibrations))


def fit(
    measured: Sequence[Measured],
    start: Calibration,
    *,
    belief: float = FAR,
    outlier: float = OUTLIER,
    only: Collection[str] = (),
    apart: bool = False,
) -> Calibration:
    """The calibration that explains these best, near `start` where they say little.

    With `only`, of nothing but these unknowns. With `apart`, software of each lineage has a speed besides, which is not
    in what comes back: else links would be thought fast because what was measured over them is well written.
    """
    names = [name for name in _names(measured) if not only or name in only]
    lineages = _lineages(measured) if apart else []
    firsts, places = _distinct(measured)

    def made(at: Sequence[float]) -> Calibration:
        return replace(start, **{n: exp(v) for n, v in zip(names, at, strict=False)})

    def residuals(at: list[float]) -> list[float]:
        calibration = made(at)
        speeds = dict(zip(lineages, map(exp, at[len(names) :]), strict=True))
        predicted = [one.predicted(calibration) for one in firsts]
        return [
            value
            for one, place in zip(measured, places, strict=True)
            for value in one.residuals(
                calibration, predicted[place] * speeds.get(lineage_of(one.kind.stack), 1.0)
            )
        ]

    sizes = Counter(one.group for one in measured if one.group)
    weights = [
        sizes.get(one.group, 1) ** -ALIKE for one in measured for _ in one.residuals(start, 1.0)
    ]
    problem = Problem(
        residuals=residuals,
        weights=weights,
        start=[*(log(getattr(start, name)) for name in names), *(0.0 for _ in lineages)],
        spread=[*(SPREADS[name] for name in names), *(APART for _ in lineages)],
        low=[*(log(BOUNDS[name][0]) for name in names), *(-inf for _ in lineages)],
        high=[*(log(BOUNDS[name][1]) for name in names), *(inf for _ in lineages)],
        belief=belief,
        outlier=outlier,
    )
    return made(solve(problem, ROUNDS))


def _lineages(measured: Sequence[Measured]) -> list[str]:
    """Those of the software, where there are several."""
    found = sorted({lineage_of(one.kind.stack) for one in measured})
    return found if len(found) > 1 else []


def _distinct(measured: Sequence[Measured]) -> tuple[list[Measured], list[int]]:
    """One of each kind of work, and which of them each is: versions are measured with the same."""
    found: dict[Hashable, int] = {}
    firsts: list[Measured] = []
    places: list[int] = []
    for one in measured:
        key = (one.chip.name, *(work.job for work in one.works))
        if key not in found:
            found[key] = len(firsts)
            firsts.append(one)
        places.append(found[key])
    return firsts, places


def _names(measured: Sequence[Measured]) -> list[str]:
    """Which unknowns these measurements say anything about."""
    jobs = [one.works[0].job for one in measured]
    dtypes = {job.program.dtype for job in jobs}
    several = any(job.layout.chips > 8 for job in jobs)
    said = {
        "matmul_fp8": "fp8" in dtypes,
        "matmul_fp4": "fp4" in dtypes,
        "expert": any(job.model.is_mixture for job in jobs),
        "exposed_weights": any(job.layout.zero >= 3 for job in jobs),
        "network": several,
        "scale": several,
    }
    return [name for name in SPREADS if said.get(name, True)]


def _paces(
    measured: Sequence[Measured], calibrations: Calibrations
) -> dict[tuple[str, str, str, str], float]:
    """What is left over for a version on a chip, the less of it the fewer measurements there are."""
    versions = grouped(
        measured, lambda one: (one.chip.name, one.kind.stack, one.release, one.kind.model)
    )
    found = {}
    for version, theirs in versions.items():
        left = fmean(
            max(min(one.residual(calibrations.find(one.kind, one.chip.name)), 0.3), -0.3)
            for one in theirs
        )
        found[version] = exp(left * len(theirs) / (len(theirs) + SHRINK))
    return found
