"""A user's own benchmarks of an engine: how far predictions are off, and a calibration that fits them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.facts import only, rows
from cordee.plan.calibration.benchmark import Benchmark
from cordee.plan.calibration.own import mean_error
from cordee.plan.calibration.serving_fitting import Measure, fit_family, metrics
from cordee.plan.calibration.serving_table import (
    SERVING_NAMES,
    ServingCalibrations,
    ServingFitted,
)
from cordee.plan.calibration.table import Kind
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment
from cordee.plan.serving.steady import works_of
from cordee.plan.serving.traffic import serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One that was measured, as predicted before, and now."""

    benchmark: str
    clients: int
    metric: str
    measured: float
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOwn:
    """What came of the benchmarks of one deployment."""

    kind: Kind
    family: str
    calibration: ServingCalibration
    figures: Sequence[Figure]

    def error(self, metric: str, *, after: bool) -> float:
        """Of that metric, mean of absolute values."""
        return mean_error(
            [
                (one.after if after else one.before) / one.measured - 1
                for one in self.figures
                if one.metric == metric
            ]
        )


def serving_own(
    found: Sequence[Benchmark],
    one: Deployment,
    kind: Kind,
    start: ServingCalibration,
) -> ServingOwn:
    """Fit to them, from what is published on."""
    family = f"{one.chip.name}/{kind.stack} yours/{one.model.name}"
    measures = [
        Measure(
            kind=kind,
            family=family,
            version=f"{one.chip.name}/{kind.stack} yours",
            chip=one.chip,
            works=works_of(one),
            traffic=run.traffic,
            published=run.measured,
        )
        for run in found
    ]
    before = [serve(one, run.traffic, start) for run in found]
    fitted = fit_family(
        [m.corrected(start, served) for m, served in zip(measures, before, strict=True)], start
    )
    after = [serve(one, run.traffic, fitted) for run in found]
    return ServingOwn(
        kind=kind,
        family=family,
        calibration=fitted,
        figures=tuple(
            Figure(
                benchmark=run.name,
                clients=run.clients,
                metric=metric,
                measured=value,
                before=metrics(then)[metric],
                after=metrics(now)[metric],
            )
            for run, then, now in zip(found, before, after, strict=True)
            for metric, value in run.measured.items()
        ),
    )


def serving_rows(found: ServingOwn, source: str) -> str:
    """A file that `cordee plan serve --calibration` reads."""
    values = asdict(found.calibration)
    shown = ", ".join(f"{name} = {values[name]:.6g}" for name in SERVING_NAMES)
    return (
        "# What a chip and an engine make of the peaks, fitted by cordee plan calibrate.\n\n"
        f'[[serving]]\ngeneration = "{found.kind.generation}"\nstack = "{found.kind.stack}"\n'
        f'model = "{found.kind.model}"\nfamily = "{found.family}"\n'
        f"results = {len(found.figures)}\nvalues = {{ {shown} }}\nsource = '{source}'\n"
    )


def serving_extended(shipped: ServingCalibrations, path: Path) -> ServingCalibrations:
    """With those in a file of the user's, for the models that were measured."""
    only(path, "serving")
    theirs = {
        row.family: ServingCalibration(**row.values)
        for row in rows(path, ServingFitted, table="serving")
    }
    if not theirs:
        raise UsageError(
            f"{path}: no [[serving]]: what `cordee plan calibrate --output` wrote is needed"
        )
    return replace(shipped, families={**shipped.families, **theirs})
