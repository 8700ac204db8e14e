"""What the layout of a script takes on a kind of chip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.table import Calibrations, kind_of
from cordee.plan.compare import Outcome, Request, who_runs
from cordee.plan.costs.seconds import Costs
from cordee.plan.layout import Job
from cordee.plan.memory import memory
from cordee.plan.pipeline.schedules import offered
from cordee.plan.step_work import work_of
from cordee.plan.training import step

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class AsItIs:
    """A script's own layout on a kind of chip, beside the best that was found."""

    chip: Accelerator
    layout: str
    chips: int
    step_s: float
    tokens_per_s: float
    memory_bytes: float
    fits: bool
    best_tokens_per_s: float
    best_chips: int
    not_run: str = ""
    """Why the software on that chip does not take such turns, if so."""

    @property
    def words(self) -> str:
        """It in one line."""
        return self._told + (f"; {self.not_run}" if self.not_run else "")

    @property
    def _told(self) -> str:
        if not self.fits:
            return (
                f"{self.chip.name}: the script's layout, {self.layout}, does not fit: "
                f"{self.memory_bytes / GIB:.0f} GiB of {self.chip.memory_bytes / GIB:.0f} on a chip"
            )
        faster = self.best_tokens_per_s / self.tokens_per_s - 1
        beside = f"the best found is {faster:.0%} faster" if faster > 0.005 else "none is faster"
        if self.best_chips != self.chips:
            beside = (
                f"the best found has {self.best_chips:,} chips and {1 + faster:.2f} x its speed"
            )
        return (
            f"{self.chip.name}: the script's layout, {self.layout}: {self.step_s:.2f} s a step, "
            f"{self.tokens_per_s:,.0f} tokens/s, {self.memory_bytes / GIB:.0f} of "
            f"{self.chip.memory_bytes / GIB:.0f} GiB; {beside}"
        )

    def as_data(self) -> dict[str, Any]:
        return {
            "chip": self.chip.name,
            "layout": self.layout,
            "chips": self.chips,
            "step_s": self.step_s,
            "tokens_per_s": self.tokens_per_s,
            "memory_bytes": self.memory_bytes,
            "fits": self.fits,
        }


def as_it_is(job: Job, request: Request, found: Outcome, known: Calibrations) -> AsItIs:
    """Reckon the script's own layout on a kind of chip, with the program that was searched with."""
    chip, program = found.chip, found.program
    job = replace(job, program=program, sequence=request.sequence, batch=request.batch)
    job.check()
    kind = kind_of(chip, found.stack, job.model)
    took = step(work_of(job, chip), Costs(chip, known.find(kind, chip.name), program))
    needs, turns = memory(job), job.layout.schedule
    return AsItIs(
        chip=chip,
        layout=job.layout.words,
        chips=job.layout.chips,
        step_s=took.seconds,
        tokens_per_s=job.tokens / took.seconds,
        memory_bytes=needs.total,
        fits=needs.fits(chip),
        best_tokens_per_s=found.best.tokens_per_s,
        best_chips=found.best.job.layout.chips,
        not_run="" if turns in offered(found.stack) else who_runs(turns, found.stack),
    )


def as_data(remarks: Sequence[str], own: Sequence[AsItIs]) -> dict[str, Any]:
    """What a script asks for, for a machine."""
    return {"as_it_is": [one.as_data() for one in own], "remarks": list(remarks)}
