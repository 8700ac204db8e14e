"""Plans from Python, with the words of the commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator, Catalogue, catalogue_with
from cordee.plan import training_report
from cordee.plan.calibration.own import extended
from cordee.plan.calibration.serving_own import serving_extended
from cordee.plan.calibration.serving_table import ServingCalibrations, serving_calibration
from cordee.plan.calibration.table import Calibrations
from cordee.plan.calibration.table import calibration as shipped
from cordee.plan.compare import DAY_S, Outcome, Request, check, dtype_on, outcome, usual_batch
from cordee.plan.deployment import Drafting
from cordee.plan.model import model
from cordee.plan.page import write_page
from cordee.plan.pipeline.schedules import schedules_named
from cordee.plan.recomputation import named as recomputed
from cordee.plan.service import report as service_report
from cordee.plan.service.compare import ServingOutcome, precisions, serving_outcome
from cordee.plan.service.page import serving_view
from cordee.plan.service.wanted import Wanted
from cordee.plan.service.wanted import check as check_wanted
from cordee.plan.traced import report as program_report
from cordee.plan.traced.asked import Asked, ask
from cordee.plan.traced.compare import Outcome as ProgramOutcome
from cordee.plan.traced.compare import as_measured
from cordee.plan.traced.compare import outcome as traced
from cordee.plan.traced.page import view as program_view
from cordee.plan.traced.target import LAUNCH_S
from cordee.plan.traced.trace import read
from cordee.plan.training_page import view


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAnswer:
    """What `train` found: the best layouts on each kind of chip, in the order asked for."""

    request: Request
    outcomes: tuple[Outcome, ...]
    known: Calibrations

    def data(self, top: int = 3) -> dict[str, Any]:
        """What `cordee plan train --json` prints of it."""
        return training_report.as_data(self.request, self.outcomes, top)

    def report(self, file: Path | str, top: int = 3) -> None:
        """Write the page of `cordee plan train --report`."""
        write_page(view(self.request, self.outcomes, self.known, top), Path(file))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingAnswer:
    """What `serve` found: the best deployments on each kind of chip, in the order asked for."""

    wanted: Wanted
    outcomes: tuple[ServingOutcome, ...]
    known: ServingCalibrations

    def data(self, top: int = 3) -> dict[str, Any]:
        """What `cordee plan serve --json` prints of it."""
        return service_report.as_data(self.wanted, self.outcomes, top)

    def report(self, file: Path | str, top: int = 3) -> None:
        """Write the page of `cordee plan serve --report`."""
        write_page(serving_view(self.wanted, self.outcomes, self.known, top), Path(file))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramAnswer:
    """What `program` found of a traced program on each kind of chip, in the order asked for."""

    asked: Asked
    outcomes: tuple[ProgramOutcome, ...]
    known: Calibrations

    def data(self) -> dict[str, Any]:
        """What `cordee plan program --json` prints of it."""
        return program_report.as_data(self.asked, self.outcomes)

    def report(self, file: Path | str, top: int = 8) -> None:
        """Write the page of `cordee plan program --report`."""
        write_page(program_view(self.asked, self.outcomes, self.known, top), Path(file))


def train(  # noqa: PLR0913 - an argument is an option
    name: str,
    chip: str | Sequence[str],
    *,
    chips: int | None = None,
    deadline: float | None = None,
    tokens: float | None = None,
    sequence: int = 4096,
    batch: int | None = None,
    dtype: str = "bf16",
    schedule: str | Sequence[str] = (),
    recompute: str | Sequence[str] = (),
    calibration: Path | None = None,
    chips_file: Path | None = None,
) -> TrainingAnswer:
    """As `cordee plan train`; `deadline` in days. Raises `UsageError` where nothing fits."""
    found = model(name)
    request = Request(
        model=found,
        sequence=sequence,
        batch=usual_batch(found, sequence) if batch is None else batch,
        dtype=dtype,
        tokens=tokens,
        chips=chips,
        deadline_s=None if deadline is None else deadline * DAY_S,
        schedules=schedules_named(_names(schedule)),
        recompute=recomputed(_names(recompute)),
    )
    check(request)
    catalogue = catalogue_with(chips_file)
    known = extended(shipped(), calibration) if calibration else shipped()
    kinds = _kinds(catalogue, chip)
    outcomes = (
        outcome(
            replace(request, dtype=dtype_on(dtype, kind, kinds)),
            kind,
            catalogue.price(kind, "rent"),
            known,
        )
        for kind in kinds
    )
    return TrainingAnswer(request=request, outcomes=tuple(outcomes), known=known)


def serve(  # noqa: PLR0913 - an argument is an option
    name: str,
    chip: str | Sequence[str],
    *,
    chips: int | None = None,
    rate: float | None = None,
    prompt: int = 1024,
    answer: int = 512,
    ttft: float = 2000.0,
    tpot: float = 50.0,
    dtype: str = "auto",
    cache: str = "bf16",
    cached: float = 0.0,
    drafts: int = 0,
    acceptance: float | None = None,
    calibration: Path | None = None,
    chips_file: Path | None = None,
) -> ServingAnswer:
    """As `cordee plan serve`; `ttft` and `tpot` in milliseconds. Raises `UsageError` where nothing fits."""
    catalogue = catalogue_with(chips_file)
    kinds = _kinds(catalogue, chip)
    spread = precisions(dtype, cache, kinds)
    wanted = Wanted(
        model=model(name),
        precision=spread[0],
        prompt=prompt,
        answer=answer,
        first_s=ttft / 1e3,
        between_s=tpot / 1e3,
        chips=chips,
        rate_per_s=rate,
        drafting=Drafting(tokens=drafts, acceptance=acceptance),
        cached=cached,
    )
    check_wanted(wanted)
    known = serving_calibration()
    known = serving_extended(known, calibration) if calibration else known
    outcomes = (
        serving_outcome(
            replace(wanted, precision=precision),
            kind,
            catalogue.price(kind, "rent"),
            known,
        )
        for kind, precision in zip(kinds, spread, strict=True)
    )
    return ServingAnswer(wanted=wanted, outcomes=tuple(outcomes), known=known)


def program(  # noqa: PLR0913 - an argument is an option
    trace: Path | str,
    chip: str | Sequence[str],
    *,
    chips: int | None = None,
    layers: int | None = None,
    step: int | None = None,
    steps: float | None = None,
    launch_us: float = LAUNCH_S * 1e6,
    tf32: bool = False,
    measured: Mapping[str, float] | None = None,
    calibration: Path | None = None,
    chips_file: Path | None = None,
) -> ProgramAnswer:
    """As `cordee plan program`; `measured` in seconds by chip. Raises `UsageError` where the trace has no step, or a chip cannot run it."""
    catalogue = catalogue_with(chips_file)
    known = extended(shipped(), calibration) if calibration else shipped()
    asked = ask(
        Path(trace).name,
        read(Path(trace)),
        chips=chips,
        layers=layers,
        step=step,
        steps=steps,
        launch_s=launch_us * 1e-6,
        tf32=tf32,
    )
    kinds = _kinds(catalogue, chip)
    timed = [(catalogue.find(name), seconds) for name, seconds in (measured or {}).items()]
    asked = as_measured(asked, timed, known)
    outcomes = (traced(asked, kind, catalogue.price(kind, "rent"), known) for kind in kinds)
    return ProgramAnswer(asked=asked, outcomes=tuple(outcomes), known=known)


def _names(chip: str | Sequence[str]) -> Sequence[str]:
    return [chip] if isinstance(chip, str) else chip


def _kinds(catalogue: Catalogue, chip: str | Sequence[str]) -> list[Accelerator]:
    found = [catalogue.find(one) for one in _names(chip)]
    if not found:
        raise UsageError("--chip: at least one kind of chip")
    return found
