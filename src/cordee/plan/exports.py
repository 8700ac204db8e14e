"""Measurements of one's own that a profiler or a benchmark exported, of what a launch script starts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Catalogue
from cordee.plan.calibration.benchmark import benchmark
from cordee.plan.calibration.fitting import Measured
from cordee.plan.calibration.own import measured_step, measurements
from cordee.plan.calibration.profile import profile
from cordee.plan.calibration.serving_own import ServingOwn, serving_own
from cordee.plan.calibration.serving_table import serving_calibration
from cordee.plan.calibration.serving_usual import usual_engine
from cordee.plan.calibration.table import kind_of
from cordee.plan.deployment import Deployment, Drafting, Scheduling
from cordee.plan.scripts.megatron import asked
from cordee.plan.scripts.serving import serving_asked
from cordee.plan.service.as_it_is import precision_on
from cordee.plan.service.compare import family_of
from cordee.plan.serving.engines import engines

ENDINGS = (".csv", ".json", ".gz")


def measured_in(
    files: Sequence[Path], script: Path | None, chip: str | None, catalogue: Catalogue
) -> tuple[Sequence[Measured], tuple[str, ...]]:
    """Of tables of steps, or of exports with the script of their run; and what is to be said."""
    found: list[Measured] = []
    notes: list[str] = []
    for file in files:
        if file.suffix not in ENDINGS:
            found += measurements(file, catalogue)
            continue
        if script is None or chip is None:
            raise UsageError(
                f"{file}: what a profiler exports does not say what ran: give --script, the launch "
                "script of that run, and --chip; or a table in TOML that names it as profile"
            )
        seen, asks = profile(file), asked(script)
        found.append(measured_step(asks.job, catalogue.find(chip), "", seen))
        notes += [*seen.remarks, *asks.remarks]
    return found, tuple(notes)


def benchmarks_in(
    files: Sequence[Path], script: Path | None, chip: str | None, catalogue: Catalogue
) -> tuple[ServingOwn, tuple[str, ...]]:
    """What is learnt from benchmarks of what a script serves; and what is to be said."""
    if script is None or chip is None:
        raise UsageError(
            f"{files[0]}: a benchmark does not say how the engine was started: give --script, the "
            "script that starts it, and --chip"
        )
    asks, kind = serving_asked(script), catalogue.find(chip)
    stack = usual_engine(kind.generation)
    usual = engines().get(stack, Scheduling())
    one = Deployment(
        model=asks.model,
        chip=kind,
        precision=precision_on(asks, asks.cache, kind),
        engine=asks.spread,
        replicas=asks.replicas,
        drafting=Drafting(tokens=asks.drafts),
        scheduling=replace(usual, most=asks.most or usual.most, chunk=asks.chunk or usual.chunk),
    )
    known, of = serving_calibration(), kind_of(kind, stack, asks.model)
    start = known.find(of, family_of(known, kind, stack, asks.model.name))
    found = serving_own([benchmark(file) for file in files], one, of, start)
    other = () if asks.engine in stack else (f"{script}: reckoned as {stack} schedules passes",)
    return found, (*asks.remarks, *other)
