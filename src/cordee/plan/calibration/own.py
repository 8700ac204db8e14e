"""A user's own step times: how far predictions are off them, and a calibration that fits them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from pathlib import Path
from statistics import fmean

from cordee.core.errors import UsageError
from cordee.core.facts import only, rows
from cordee.hw.accelerator import Accelerator, Catalogue
from cordee.plan.calibration.fitting import Measured, fit
from cordee.plan.calibration.groups import grouped
from cordee.plan.calibration.profile import Profile, profile
from cordee.plan.calibration.table import (
    NAMES,
    Calibrations,
    Fitted,
    Kind,
    calibration,
    kind_of,
)
from cordee.plan.calibration.usual import usual_stack
from cordee.plan.configuration import Configuration
from cordee.plan.costs.calibration import Calibration
from cordee.plan.layout import Job
from cordee.plan.model import model
from cordee.plan.step_work import work_of
from cordee.plan.training import model_flops

BELIEF = 0.05
"""How much what is published weighs beside a few measurements of one's own."""
OUTLIER = 0.3
"""One's own measurements are believed, unless they are off by more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Configuration):
    """One step that was measured."""

    step_s: float | None = None
    profile: str = ""
    """In its place, or besides: what a profiler exported of that step; a file beside this one."""

    def __post_init__(self) -> None:
        if self.step_s is None and not self.profile:
            raise UsageError("step_s or profile: seconds of a step, or what a profiler exported")
        if self.step_s is not None and self.step_s <= 0:
            raise UsageError(f"step_s = {self.step_s}: seconds of a step, above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What came of the measurements of one kind."""

    kind: Kind
    calibration: Calibration
    before: Sequence[float]
    """Errors with the shipped calibration, measurement by measurement."""
    after: Sequence[float]
    """Errors with one's own."""
    left_out: Sequence[float]
    """Errors for each measurement with a calibration that was fitted to the others."""
    parts: Sequence["Part"] = ()
    """Of what a profiler saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A kind of work in a step: seconds as a profiler saw them, as predicted before, and now."""

    name: str
    measured_s: float
    before_s: float
    after_s: float


def measurements(path: Path, catalogue: Catalogue) -> tuple[Measured, ...]:
    """Those in a file of the user's. Raises `UsageError` with the place of what is wrong."""
    only(path, "measured")
    found = []
    for number, row in enumerate(rows(path, Measurement, table="measured"), start=1):
        try:
            found.append(_measured(row, catalogue, path.parent))
        except UsageError as error:
            raise UsageError(f"{path}: measured {number}: {error}") from error
    if not found:
        raise UsageError(f"{path}: no [[measured]]: a table for each step that was measured")
    return tuple(found)


def _measured(row: Measurement, catalogue: Catalogue, folder: Path) -> Measured:
    seen = profile(folder / row.profile) if row.profile else None
    job = row.job(model(row.model), row.micro_batch)
    job.check()
    return measured_step(job, catalogue.find(row.chip), row.stack, seen, row.step_s)


def measured_step(
    job: Job, chip: Accelerator, stack: str, seen: Profile | None, step_s: float | None = None
) -> Measured:
    """A step of that job; its time is that of the profiler where no other is given."""
    seconds = step_s or (seen.step_s if seen else 0.0)
    assert seconds > 0, "one or the other is given"
    peak = chip.flops_per_s.get(job.program.dtype) or max(chip.flops_per_s.values())
    least = model_flops(job) / (peak * job.layout.chips)
    if seconds < least:
        raise UsageError(
            f"a step of {seconds:.3g} s: at its peak {chip.name} takes {least:.3g} s for the products alone; "
            "are chips, batch and sequence those of the run?"
        )
    return Measured(
        kind=kind_of(chip, stack or usual_stack(chip.generation), job.model),
        chip=chip,
        release="",
        works=(work_of(job, chip),),
        tokens_per_s_per_chip=job.tokens / seconds / job.layout.chips,
        parts=seen.parts if seen else {},
    )


def own(measured: Sequence[Measured]) -> Iterator[Own]:
    """Fit each kind, from what is published on."""
    for kind, theirs in grouped(measured, lambda one: one.kind).items():
        start = calibration().find(kind, theirs[0].chip.name)
        fitted = _fit(theirs, start)
        others = [[o for o in theirs if o is not one] for one in theirs]
        yield Own(
            kind=kind,
            calibration=fitted,
            before=_errors(theirs, [start] * len(theirs)),
            after=_errors(theirs, [fitted] * len(theirs)),
            left_out=_errors(theirs, [_fit(rest, start) for rest in others])
            if len(theirs) > 2
            else (),
            parts=tuple(part for one in theirs for part in _parts(one, start, fitted)),
        )


def _parts(one: Measured, start: Calibration, fitted: Calibration) -> Iterator[Part]:
    before, after = one.predicted_parts(start), one.predicted_parts(fitted)
    for name, seconds in one.parts.items():
        yield Part(name=name, measured_s=seconds, before_s=before[name], after_s=after[name])


def _fit(measured: Sequence[Measured], start: Calibration) -> Calibration:
    return fit(measured, start, belief=BELIEF, outlier=OUTLIER)


def _errors(measured: Sequence[Measured], known: Sequence[Calibration]) -> tuple[float, ...]:
    return tuple(exp(one.residual(c)) - 1 for one, c in zip(measured, known, strict=True))


def mean_error(errors: Sequence[float]) -> float:
    """Of their absolute values."""
    return fmean(abs(error) for error in errors)


def table(found: Sequence[Own], source: str) -> str:
    """A file that `--calibration` reads."""
    lines = ["# What chips and software make of the peaks, fitted by cordee plan calibrate.\n"]
    for one in found:
        values = asdict(one.calibration)
        shown = ", ".join(f"{name} = {values[name]:.6g}" for name in NAMES)
        lines.append(
            f'[[row]]\ngeneration = "{one.kind.generation}"\nstack = "{one.kind.stack}"\n'
            f'model = "{one.kind.model}"\nresults = {len(one.after)}\n'
            f"values = {{ {shown} }}\nsource = '{source}'\n"
        )
    return "\n".join(lines)


def extended(shipped: Calibrations, path: Path) -> Calibrations:
    """With the calibrations in a file of the user's, which come before ours of the same kind."""
    only(path, "row")
    theirs: Mapping[Kind, Calibration] = {
        Kind(row.generation, row.stack, row.model): Calibration(**row.values)
        for row in rows(path, Fitted)
    }
    if not theirs:
        raise UsageError(
            f"{path}: no [[row]]: what `cordee plan calibrate --output` wrote is needed"
        )
    paces = {
        version: pace
        for version, pace in shipped.paces.items()
        if version[1] not in {kind.stack for kind in theirs}
    }
    return replace(shipped, fitted={**shipped.fitted, **theirs}, paces=paces)
