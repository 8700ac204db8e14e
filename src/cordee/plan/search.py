"""The best layouts of a training step on some chips: all that are sensible, fastest first."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.calibration import Calibration
from cordee.plan.costs.seconds import Costs
from cordee.plan.fewest import fewest
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.memory import Memory, memory
from cordee.plan.model import Model
from cordee.plan.pipeline.schedules import PLAIN, offer, schedule
from cordee.plan.room import Recomputation
from cordee.plan.shares import Share, shares
from cordee.plan.stages import Times, times_of
from cordee.plan.step_work import Work, groups_of, work_of
from cordee.plan.training import Step, step

POWERS = (1, 2, 4, 8, 16, 32, 64)
LONG = 16384
"""Tokens of a sequence from which on it may be shared out."""
WORTH = 0.9
"""Part of the chips that a layout must use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be trained, on how many chips."""

    model: Model
    chips: int
    sequence: int
    batch: int
    """Sequences of a step; a layout may differ from it by a tenth, so that it divides."""
    program: Program
    schedules: tuple[str, ...] = (PLAIN,)
    """How stages may take turns; without 1F1B, only pipelines are wanted."""
    stack: str = ""
    """The software, which may run some schedules only under conditions."""
    recompute: tuple[str, ...] = ()
    """What is reckoned again, as a user names it; where it is left out, as little as fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A layout with what it takes."""

    job: Job
    step: Step
    memory: Memory

    @property
    def tokens_per_s(self) -> float:
        """Of all chips together."""
        return self.job.tokens / self.step.seconds


@dataclass(slots=True, kw_only=True)
class Found:
    """What a search found."""

    plans: list[Plan] = field(default_factory=list)
    tried: int = 0
    leanest: tuple[Job, Memory] | None = None
    """Of the layouts that do not fit, the one with least memory."""


class Search:
    """Searches on one kind of chip, and keeps what layouts have in common."""

    def __init__(self, chip: Accelerator, calibration: Calibration, program: Program) -> None:
        self.chip = chip
        self._costs = Costs(chip, calibration, program)
        self._known: dict[tuple[object, ...], tuple[Work, Times]] = {}

    def find(self, wanted: Wanted) -> Found:
        """Every layout that fits, fastest first. Raises `UsageError` where none does."""
        found = self.tried(wanted)
        if not found.plans:
            raise UsageError(_nothing_fits(wanted, self.chip, found))
        return found

    def tried(self, wanted: Wanted) -> Found:
        """The same, and without plans where none fits."""
        found = Found()
        for job in candidates(wanted, self.chip):
            found.tried += 1
            self._judge(job, wanted, found)
        found.plans.sort(key=lambda plan: -plan.tokens_per_s)
        return found

    def _judge(self, job: Job, wanted: Wanted, found: Found) -> None:
        """Time it where it fits, with as little reckoned again as it takes."""
        share = shares(job)
        job, needs = _room(wanted).fitting(job, self.chip, share)
        if needs.fits(self.chip):
            found.plans.append(Plan(job=job, step=self._step(job, share), memory=needs))
        elif found.leanest is None or needs.total < found.leanest[1].total:
            found.leanest = job, needs

    def _step(self, job: Job, share: Share) -> Step:
        layout = job.layout
        key = (
            job.model.name,
            job.sequence,
            layout.tensor,
            layout.context,
            layout.expert,
            layout.micro_batch,
            layout.zero == 3,
            layout.turns.splits,
            layout.recompute_parts,
            job.hides_pairs,
            job.program.overlaps_experts,
        )
        if key not in self._known:
            work = work_of(job, self.chip)
            self._known[key] = work, times_of(work, self._costs)
        work, times = self._known[key]
        own = replace(work, job=job, groups=groups_of(job, self.chip), share=share)
        return step(own, self._costs, times)


def candidates(wanted: Wanted, chip: Accelerator) -> Iterator[Job]:
    """Layouts that the model can have on these chips, without recomputation."""
    for tensor, context in _inner(wanted, chip):
        for pipeline, chunks, turns in _stages(wanted, tensor * context):
            for expert in _experts(wanted, chip):
                for micro_batch in (1, 2, 4, 8):
                    for zero in (1, 3) if pipeline == 1 else (1,):
                        job = _job(
                            wanted,
                            Layout(
                                chips=tensor * context * pipeline,
                                tensor=tensor,
                                context=context,
                                pipeline=pipeline,
                                chunks=chunks,
                                schedule=turns,
                                expert=expert,
                                micro_batch=micro_batch,
                                zero=zero,
                            ),
                        )
                        if job:
                            yield job


def _inner(wanted: Wanted, chip: Accelerator) -> Iterator[tuple[int, int]]:
    heads = wanted.model.heads
    for tensor in POWERS:
        if tensor > min(chip.chips_per_node, wanted.chips) or heads % tensor:
            continue
        for context in POWERS[:5] if wanted.sequence >= LONG else (1,):
            halves = context == 1 or not wanted.sequence % (2 * context)
            if halves and tensor * context <= wanted.chips:
                yield tensor, context


def _stages(wanted: Wanted, inner: int) -> Iterator[tuple[int, int, str]]:
    """Stages, their chunks and how they take turns."""
    layers = len(wanted.model.layers)
    for pipeline in range(1, min(layers, wanted.chips // inner) + 1):
        for name in wanted.schedules:
            pieces = schedule(name).pieces
            # A last stage with few layers wastes the others' time.
            if -(-layers // (pipeline * pieces)) * pipeline * pieces > layers * 1.15 + 1:
                continue
            for chunks in (1, 2, 4) if pipeline > 1 and schedule(name).cuts else (1,):
                # The last piece of the last chunk may be short, but no chunk may be empty.
                each = -(-layers // (pipeline * chunks))
                if (chunks - 1) * pipeline * each < layers and pipeline * chunks <= layers:
                    yield pipeline, chunks, name


def _experts(wanted: Wanted, chip: Accelerator) -> Iterator[int]:
    if not wanted.model.is_mixture:
        yield 1
        return
    for expert in POWERS:
        if wanted.model.experts % expert == 0 and expert <= wanted.chips:
            yield expert


def _job(wanted: Wanted, layout: Layout) -> Job | None:
    """With as many replicas as there are chips for, and a batch that divides over them."""
    inner = layout.tensor * layout.context
    stage = inner * layout.pipeline
    unit = max(layout.expert // inner, 1)
    data = wanted.chips // stage // unit * unit
    if not data or data * stage < WORTH * wanted.chips or (data * inner) % layout.expert:
        return None
    if layout.zero == 3 and data * layout.context == 1:
        return None  # nobody shares the weights
    together = layout.pipeline if layout.chunks > 1 else 2 if layout.turns.even else 1
    turn = data * layout.micro_batch * together
    batch = round(wanted.batch / turn) * turn
    if not batch or abs(batch - wanted.batch) > 0.1 * wanted.batch:
        return None
    job = Job(
        model=wanted.model,
        layout=replace(layout, chips=data * stage),
        sequence=wanted.sequence,
        batch=batch,
        program=wanted.program,
    )
    if layout.schedule == PLAIN:
        return _beside(job, wanted.stack)
    return _scheduled(job, wanted.stack)


def _beside(job: Job, stack: str) -> Job:
    """In 1F1B, with tokens on their way to experts beside passes of other micro-batches, where the software can."""
    layout, one = job.layout, offer(stack, PLAIN)
    rounds = job.micro_batches / (layout.pipeline if layout.chunks > 1 else 1)
    alone = layout.pipeline > 1 and layout.chunks == 1
    if one is None or layout.expert == 1 or alone or rounds < 2 or layout.zero == 3:
        return job
    gradients = job.program.overlaps_gradients and "overlaps_gradients" not in one.exclusive
    program = replace(job.program, overlaps_experts=True, overlaps_gradients=gradients)
    return replace(job, program=program)


def _scheduled(job: Job, stack: str) -> Job | None:
    """With what goes with its schedule under that software; None where that cannot be."""
    layout, program = job.layout, job.program
    if layout.turns.problem(layout.pipeline, len(job.model.layers), job.micro_batches):
        return None
    one = offer(stack, layout.schedule)
    exclusive = one.exclusive if one else []
    if ("context" in exclusive and layout.context > 1) or ("tied" in exclusive and job.model.tied):
        return None
    hides = layout.turns.pairs and layout.expert > 1 and (one is None or one.hides_experts)
    gradients = program.overlaps_gradients and "overlaps_gradients" not in exclusive
    experts = program.overlaps_experts or hides
    return replace(
        job, program=replace(program, overlaps_experts=experts, overlaps_gradients=gradients)
    )


def _room(wanted: Wanted) -> Recomputation:
    return Recomputation(stack=wanted.stack, plain=wanted.program, wanted=wanted.recompute)


def _nothing_fits(wanted: Wanted, chip: Accelerator, found: Found) -> str:
    model = f"{wanted.model.name} ({wanted.model.parameters / 1e9:,.1f}e9 parameters)"
    if found.leanest is None and PLAIN not in wanted.schedules:
        return (
            f"{model}: no pipeline of {wanted.chips} chips runs by {', '.join(wanted.schedules)}: its layers or "
            f"a batch of {wanted.batch} sequences do not go with it; a larger batch, or --schedule all"
        )
    if found.leanest is None:
        return (
            f"{model}: a batch of {wanted.batch} sequences does not divide over "
            f"{wanted.chips} chips in any layout; a batch of {wanted.chips} would"
        )
    job, needs = found.leanest
    gib = 2**30
    guess = int(wanted.chips * needs.total / chip.memory_bytes)
    more = fewest(
        guess, chip.chips_per_node, lambda chips: _holds(replace(wanted, chips=chips), chip)
    )
    out = (
        f"{more} x {chip.name} hold it"
        if more
        else "no number of chips holds it: shorter sequences may"
    )
    return (
        f"{model} does not fit on {wanted.chips} x {chip.name}: the leanest of {found.tried} layouts, "
        f"{job.layout.words}, needs {needs.total / gib:,.0f} GiB of {chip.memory_bytes / gib:,.0f} on a "
        f"chip; {out}"
    )


def _holds(wanted: Wanted, chip: Accelerator) -> bool:
    """Whether some layout fits."""
    return any(memory(_room(wanted).most(job)).fits(chip) for job in candidates(wanted, chip))
