"""Fits calibrations of inference: a generation first, then each engine and class of models, each family.

Fitted is the formula of `steady`, times what the simulation of the queue makes of it: that ratio is
near 1 and depends on the traffic more than on the calibration. It is reckoned with what is usual, and once
more with what was found, from which on engines and families are fitted again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from statistics import median

from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.groups import grouped
from cordee.plan.calibration.least_squares import Problem, solve
from cordee.plan.calibration.serving_table import ServingCalibrations, model_of, off
from cordee.plan.calibration.table import Kind
from cordee.plan.costs.serving_calibration import (
    SERVING_BOUNDS,
    SERVING_SPREADS,
    ServingCalibration,
)
from cordee.plan.serving.steady import Works, steady
from cordee.plan.serving.traffic import Served, Traffic

FEWEST = 4
"""Results from which on a kind has a calibration of its own."""
ROUNDS = 5
SAMPLE = 80
"""Results of a generation, or of an engine, that are looked at: more say little more."""
OUTLIER = 0.12
"""From which residual on a result counts less."""
SURPRISE = 1.0
"""Spreads from which on it counts less how far a number is from what it was thought to be."""
WEIGHTS = {"TPOT": 1.0, "TTFT": 0.45, "throughput": 0.8}
OWN = (
    "matmul", "matmul_8", "matmul_4", "stream", "expert", "cache", "attention", "kernel_s",
    "collective_s", "pass_s", "sequence_s", "request_s", "crowd_s", "prefill", "launch_s",
    "imbalance", "acceptance",
)  # fmt: skip
"""What a version of an engine, and a family, have of their own."""
PROMPTS = ("request_s", "crowd_s", "launch_s", "prefill")
"""What only prompts say much about. They are fitted once more, to times to first tokens as parts of what is published:
where a queue is nearly full these are off by multiples, of which logarithms make little.
"""
LIKE_USUAL, LIKE_GENERATION, LIKE_KIND, LIKE_VERSION, LIKE_PUBLISHED = 0.3, 0.4, 0.3, 0.15, 0.1
"""How much a generation is thought to be as usual, an engine like its generation, and so on down."""
SCATTER = 0.15
"""Of logarithms of predicted by published, to which these belong: less is believed where it is less."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What a calibration is thought to be like, before anything is measured."""

    calibration: ServingCalibration
    strength: float
    """How many times a residual of 1 spread counts beside those of results."""
    bases: Sequence[ServingCalibration] = ()
    """Of each result, its own in place of that one: what is found is off that one as it makes results off theirs."""

    def of(self, measured: Sequence["Measure"]) -> Sequence[ServingCalibration]:
        """What each result is thought to be like."""
        return self.bases or [self.calibration] * len(measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What was measured of one deployment under one traffic."""

    kind: Kind
    family: str
    version: str
    """Of the software, on one kind of chip."""
    chip: Accelerator
    works: Works
    traffic: Traffic
    published: Mapping[str, float]
    ratios: Mapping[str, float] = field(default_factory=dict)
    """Of what the simulation says to what the formula says, by metric."""

    def formula(self, calibration: ServingCalibration) -> dict[str, float]:
        """By metric, as the formula has it."""
        found = steady(self.works, self.traffic, calibration)
        part = (1 + self.traffic.shortest) / 2
        return {
            "TPOT": found.between_s,
            "TTFT": found.first_s,
            "throughput": found.requests_per_s * self.traffic.answer * part,
        }

    def residuals(self, calibration: ServingCalibration, *, parts: bool = False) -> list[float]:
        """Weighted logarithms of predicted by published; with `parts`, of times to first tokens what is too much."""
        found = self.formula(calibration)
        off = {
            name: found[name] * self.ratios.get(name, 1.0) / value
            for name, value in self.published.items()
        }
        return [
            WEIGHTS[name] * (value - 1 if parts and name == "TTFT" else log(value))
            for name, value in off.items()
        ]

    def corrected(self, calibration: ServingCalibration, served: Served) -> "Measure":
        """With the ratios that a simulation under that calibration gives."""
        found = self.formula(calibration)
        simulated = metrics(served)
        return replace(self, ratios={n: simulated[n] / found[n] for n in self.published})


def metrics(served: Served) -> dict[str, float]:
    """By metric, as publications have them: means over requests, and tokens a second of all."""
    return {
        "TPOT": served.mean_between_s,
        "TTFT": served.mean_first_s,
        "throughput": served.output_tokens_per_s,
    }


def fit_serving(measured: Sequence[Measure]) -> ServingCalibrations:
    """Calibrations of all generations, kinds, versions and families that are measured often enough.

    Each is thought to be like the one above it.
    """
    return fit_engines(ServingCalibrations(fitted=_kinds(measured)), measured)


def fit_engines(known: ServingCalibrations, measured: Sequence[Measure]) -> ServingCalibrations:
    """Those of versions, families and models once more, from the kinds that are known."""
    found = ServingCalibrations(fitted=known.fitted)
    for strength, named in ((LIKE_KIND, _versions(measured)), (LIKE_VERSION, _families(measured))):
        families = {
            name: _own(theirs, Belief(found.find(theirs[0].kind, theirs[0].family), strength))
            for name, theirs in named.items()
        }
        found = replace(found, families={**found.families, **families})
    models = {
        name: _own(theirs, _beside(found, theirs)) for name, theirs in _models(measured).items()
    }
    versions = frozenset(one.version for one in measured)
    return replace(found, models=models, versions=versions)


def _own(measured: Sequence[Measure], like: Belief) -> ServingCalibration:
    return _fit(measured, like, _names(measured, OWN))


def _beside(found: ServingCalibrations, theirs: Sequence[Measure]) -> Belief:
    """What a model's results are thought to be like: those of their versions, off which it makes all of them."""
    bases = [found.of_version(one.kind, one.family) for one in theirs]
    return Belief(found.find(theirs[0].kind), LIKE_KIND, bases)


def _kinds(measured: Sequence[Measure]) -> Mapping[Kind, ServingCalibration]:
    fitted: dict[Kind, ServingCalibration] = {}
    usual = Belief(ServingCalibration(), LIKE_USUAL)
    for generation, theirs in grouped(measured, lambda one: Kind(one.kind.generation)).items():
        fitted[generation] = _fit(_some(theirs), usual, _names(theirs, SERVING_SPREADS))
    for kind, theirs in grouped(measured, lambda one: one.kind).items():
        if len(theirs) >= FEWEST:
            above = Belief(fitted[Kind(kind.generation)], LIKE_GENERATION)
            fitted[kind] = _fit(_some(theirs), above, _names(theirs, SERVING_SPREADS))
    return fitted


def _versions(measured: Sequence[Measure]) -> Mapping[str, Sequence[Measure]]:
    """Those of an engine that serve several models: with one, they are its family."""
    return _several(grouped(measured, lambda one: one.version))


def _models(measured: Sequence[Measure]) -> Mapping[str, Sequence[Measure]]:
    """Those of a model that an engine serves in several versions, or on several kinds of chips."""
    return _several(grouped(measured, lambda one: model_of(one.kind, one.family)))


def _several(named: Mapping[str, Sequence[Measure]]) -> Mapping[str, Sequence[Measure]]:
    several = {n: theirs for n, theirs in named.items() if len({one.family for one in theirs}) > 1}
    return {name: theirs for name, theirs in several.items() if len(theirs) >= FEWEST}


def _families(measured: Sequence[Measure]) -> Mapping[str, Sequence[Measure]]:
    found = grouped(measured, lambda one: one.family)
    return {name: theirs for name, theirs in found.items() if len(theirs) >= FEWEST}


def _some(measured: Sequence[Measure]) -> Sequence[Measure]:
    """Every n-th, so that all families have their part."""
    return measured[:: -(-len(measured) // SAMPLE)]


def fit_family(measured: Sequence[Measure], start: ServingCalibration) -> ServingCalibration:
    """One's own measurements, from what is published on."""
    return _own(measured, Belief(start, LIKE_PUBLISHED))


def _fit(measured: Sequence[Measure], like: Belief, names: Sequence[str]) -> ServingCalibration:
    found = _solved(measured, like, names)
    if all("TTFT" not in one.published for one in measured):
        return found
    own = [name for name in names if name in PROMPTS]
    start = replace(found, **{name: getattr(like.calibration, name) for name in own})
    bases = [off(base, like.calibration, start) for base in like.of(measured)]
    return _solved(measured, Belief(start, like.strength, bases), own, parts=True)


def _solved(
    measured: Sequence[Measure], like: Belief, names: Sequence[str], *, parts: bool = False
) -> ServingCalibration:
    def made(at: Sequence[float]) -> ServingCalibration:
        return replace(like.calibration, **{n: exp(v) for n, v in zip(names, at, strict=True)})

    def residuals(at: list[float]) -> list[float]:
        calibration = made(at)
        each = {base: off(base, like.calibration, calibration) for base in set(bases)}
        return [
            value
            for one, base in zip(measured, bases, strict=True)
            for value in one.residuals(each[base], parts=parts)
        ]

    bases = like.of(measured)
    start = [log(getattr(like.calibration, name)) for name in names]
    slow_s = like.calibration.pass_s + _late_s(measured, like.calibration)
    slow = [log(slow_s) if name == "pass_s" else at for name, at in zip(names, start, strict=True)]
    problem = Problem(
        residuals=residuals,
        start=start,
        begins=[slow] if slow != start else [],
        spread=[SERVING_SPREADS[name] for name in names],
        low=[log(SERVING_BOUNDS[name][0]) for name in names],
        high=[log(SERVING_BOUNDS[name][1]) for name in names],
        belief=like.strength,
        scatter=SCATTER,
        outlier=OUTLIER,
        surprise=SURPRISE,
    )
    return made(solve(problem, rounds=ROUNDS))


def _late_s(measured: Sequence[Measure], calibration: ServingCalibration) -> float:
    """Seconds of a pass that are missing, in the middle of all: those of a host that is slow, so a fit begins there too.

    From a host that costs little no small step leads to one that costs most.
    """
    late = [
        (theirs - one.formula(calibration)["TPOT"] * one.ratios.get("TPOT", 1.0))
        * one.works.decode.deployment.drafting.per_pass(calibration.acceptance)
        for one in measured
        if (theirs := one.published.get("TPOT"))
    ]
    return max(median(late), 0.0) if late else 0.0


def _names(measured: Sequence[Measure], among: Iterable[str]) -> list[str]:
    """Which unknowns these measurements say anything about."""
    deployments = [one.works.decode.deployment for one in measured]
    dtypes = {one.precision.products(one.chip) for one in deployments}
    first = any("TTFT" in one.published for one in measured)
    said = {
        "matmul_8": bool(dtypes & {"fp8", "int8"}),
        "matmul_4": "fp4" in dtypes,
        "expert": any(one.model.is_mixture for one in deployments),
        "imbalance": any(one.engine.expert > 1 for one in deployments),
        "link": any(one.engine.stage > 1 for one in deployments),
        "collective_s": any(one.engine.stage > 1 for one in deployments),
        "network": any(one.engine.chips > (one.chip.supernode_chips or 8) for one in deployments),
        "acceptance": any(one.drafting.tokens for one in deployments),
        "request_s": first,
        "crowd_s": first,
        "launch_s": first or any(not one.scheduling.captured for one in deployments),
    }
    return [name for name in among if said.get(name, True)]
