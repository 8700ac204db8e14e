"""Room in memory for a layout: what can be reckoned again in place of being kept, the least of it first."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from cordee.hw.accelerator import Accelerator
from cordee.plan.layout import Job, Program
from cordee.plan.memory import ROOM, Memory, memory
from cordee.plan.pipeline.schedules import offer
from cordee.plan.recomputation import BESIDE, WHOLE, ladder
from cordee.plan.shares import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """What may be reckoned again in the layouts of a search."""

    stack: str
    """The software, which can do so with some parts."""
    plain: Program
    """Without what is chosen for a layout, for what does not go with recomputation."""
    wanted: tuple[str, ...] = ()
    """What a user names; as little as fits where it is left out."""

    def first(self, job: Job) -> Job:
        """With nothing reckoned again, or what is wanted."""
        if not self.wanted:
            return job
        if self.wanted == ("full",):
            return self.most(job)
        whole = self.wanted[0] if self.wanted[0] in WHOLE else "none"
        parts = () if self.wanted[0] in WHOLE else self.wanted
        return replace(job, layout=replace(job.layout, recompute=whole, recompute_parts=parts))

    def most(self, job: Job) -> Job:
        """With all layers reckoned again, and without what does not go with that; or with what is wanted."""
        if self.wanted and self.wanted != ("full",):
            return self.first(job)
        one, program = offer(self.stack, job.layout.schedule), job.program
        if one and "recompute" in one.exclusive:
            program = replace(program, overlaps_experts=self.plain.overlaps_experts)
        return replace(job, layout=replace(job.layout, recompute="full"), program=program)

    def between(self, job: Job) -> Iterator[Job]:
        """With more and more parts reckoned again."""
        if self.wanted:
            return
        for parts, way in ladder(job.model, self.stack, beside=job.program.overlaps_experts):
            program = job.program
            if BESIDE in way.exclusive:
                program = replace(program, overlaps_experts=self.plain.overlaps_experts)
            layout = replace(job.layout, recompute_parts=parts)
            yield replace(job, layout=layout, program=program)

    def fitting(self, job: Job, chip: Accelerator, share: Share) -> tuple[Job, Memory]:
        """With the least that makes it fit, and what it needs; with the most where nothing does."""
        first = self.first(job)
        needs = memory(first, share)
        if needs.fits(chip):
            return first, needs
        most = self.most(job)
        needs = memory(most, share)
        if self.wanted or not needs.fits(chip):
            return most, needs
        rising = list(self.between(job))
        if rising and memory(rising[-1], share).fits(chip):
            place = bisect_left(rising, True, key=lambda one: memory(one, share).fits(chip))
            return rising[place], memory(rising[place], share)
        return of_fewest_layers(most, needs, chip, share)


def of_fewest_layers(
    job: Job, needs: Memory, chip: Accelerator, share: Share
) -> tuple[Job, Memory]:
    """The same with as few layers of a stage reckoned again as the chip has room for; `needs`: with all."""
    layout = job.layout
    layers = layout.fullest(len(job.model.layers))
    each = layout.turns.pieces * layout.chunks  # options count the layers of a piece
    if layers <= each:
        return job, needs
    one = memory(replace(job, layout=replace(layout, recompute_layers=each)), share).total
    # What is kept is convex in their number, so a line between both ends is never too little.
    over = max(one - ROOM * chip.memory_bytes, 0.0)
    freed = (one - needs.total) / (layers - each)
    more = ceil(over / freed) if freed > 0 else layers
    some = each * ceil((each + more) / each)
    if some >= layers:
        return job, needs
    found = replace(job, layout=replace(layout, recompute_layers=some))
    return found, memory(found, share)
