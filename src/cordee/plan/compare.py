"""A training run on several kinds of chips: layouts, time, cost, energy, and where the limit is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, inf

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator, Price
from cordee.plan.calibration.stacks import with_stack
from cordee.plan.calibration.table import Calibrations, Kind, calibration, kind_of
from cordee.plan.calibration.usual import usual_stack
from cordee.plan.calibration.widths import nearest, widths
from cordee.plan.costs.assumed import assumed
from cordee.plan.layout import Job, Program
from cordee.plan.model import Model
from cordee.plan.pipeline.schedules import PLAIN, offer, offered, offers
from cordee.plan.recomputation import WHOLE, missing, options, parts
from cordee.plan.search import Found, Plan, Search, Wanted
from cordee.plan.training import model_flops

DAY_S = 86400
TODAY = Program(overlaps_tensor=True)
"""Who plans today trains with the software of today."""
UNIT = 64
"""Chips are bought in multiples of this many."""


NOT_TRAINED_IN = ("fp32", "tf32", "int8")
"""Nothing that is compared here was."""
NEAREST = {
    "bf16": ("fp16", "fp8"),
    "fp16": ("bf16", "fp8"),
    "fp8": ("bf16", "fp16", "fp4"),
    "fp4": ("fp8", "bf16", "fp16"),
}
"""In what a chip trains that has not the dtype asked for, beside one that has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be trained, by when."""

    model: Model
    sequence: int
    batch: int
    dtype: str = "bf16"
    tokens: float | None = None
    """Of the whole run."""
    chips: int | None = None
    deadline_s: float | None = None
    """How long it may take; then the number of chips is found."""
    program: Program = TODAY
    """What the program does; it computes in `dtype`."""
    schedules: tuple[str, ...] = ()
    """How stages may take turns; as the software can where it is left out."""
    recompute: tuple[str, ...] = ()
    """What is reckoned again; as little as fits where it is left out."""


def check(request: Request) -> None:
    """Raises `UsageError` where it asks for nothing that can be found."""
    lacks = missing([name for name in request.recompute if name not in WHOLE], request.model)
    if lacks:
        raise UsageError(
            f"--recompute {lacks}: {request.model.name} has not {parts()[lacks].needs}"
        )
    if (request.chips is None) == (request.deadline_s is None):
        raise UsageError("give --chips, how many there are, or --deadline, by when it is to end")
    if request.deadline_s is not None and request.tokens is None:
        raise UsageError("--deadline needs --tokens: how many the run has, such as 15T")
    counts = (("sequence", request.sequence), ("batch", request.batch), ("chips", request.chips))
    for name, value in counts:
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: 1 or more")
    if request.tokens is not None and not 0 < request.tokens < inf:
        raise UsageError(f"--tokens {request.tokens:g}: above 0, and as many as can be counted")
    if request.deadline_s is not None and not 0 < request.deadline_s < inf:
        raise UsageError(f"--deadline {request.deadline_s / DAY_S:g}: days, above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The best layouts on one kind of chip."""

    chip: Accelerator
    stack: str
    program: Program
    """What the software does, whatever the layout."""
    plans: Sequence[Plan]
    tried: int
    tokens: float | None
    price: Price | None
    off: float
    """The logarithm by which a speed may be off, in 9 of 10 cases."""
    judged_by: Kind
    """On which predictions that rests."""
    warnings: tuple[str, ...]

    @property
    def best(self) -> Plan:
        return self.plans[0]

    @property
    def speed(self) -> tuple[float, float, float]:
        """Tokens a second: the least, as predicted, and the most."""
        speed = self.best.tokens_per_s
        return speed * exp(-self.off), speed, speed * exp(self.off)

    @property
    def seconds(self) -> float | None:
        """Of the whole run."""
        return self.tokens / self.best.tokens_per_s if self.tokens else None

    @property
    def mfu(self) -> float:
        """Of the peak, what the model's own products use."""
        job = self.best.job
        peak = self.chip.peak_flops_per_s(job.program.dtype)
        return model_flops(job) / self.best.step.seconds / (peak * job.layout.chips)

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        """Of renting the chips for the run; None without a price or an end."""
        if self.price is None or self.seconds is None:
            return None
        hours = self.best.job.layout.chips * self.seconds / 3600
        return hours * self.price.low_usd, hours * self.price.high_usd

    @property
    def energy_j(self) -> float | None:
        """Of the chips at the power that they are built for."""
        if self.chip.power_w is None or self.seconds is None:
            return None
        return self.chip.power_w * self.best.job.layout.chips * self.seconds

    @property
    def bottleneck(self) -> str:
        """What takes most of a step, and what most beside products."""
        parts = self.best.step.parts
        total = sum(parts.values())
        first = max(parts, key=lambda name: parts[name])
        second = max((n for n in parts if n != first), key=lambda name: parts[name])
        return f"{first} {parts[first] / total:.0%}, {second} {parts[second] / total:.0%}"


def outcome(
    request: Request,
    chip: Accelerator,
    price: Price | None,
    calibrations: Calibrations | None = None,
) -> Outcome:
    """Find the best layouts on that chip. Raises `UsageError` where none fits."""
    calibrations = calibrations or calibration()
    dtype = _dtype(request.dtype, chip)
    stack = usual_stack(chip.generation)
    kind = kind_of(chip, stack, request.model)
    program = replace(request.program, dtype=dtype)
    if request.program is TODAY:
        program = with_stack(program, stack)
    search = Search(chip, calibrations.find(kind, chip.name), program)
    ask = Wanted(
        model=request.model,
        chips=request.chips or 0,
        sequence=request.sequence,
        batch=request.batch,
        program=program,
        schedules=request.schedules or offered(stack),
        stack=stack,
        recompute=request.recompute,
    )
    found = _found(request, search, ask)
    off, judged_by = nearest(widths(), kind)
    return Outcome(
        chip=chip,
        stack=stack,
        program=program,
        plans=found.plans,
        tried=found.tried,
        tokens=request.tokens,
        price=price,
        off=off,
        judged_by=judged_by,
        warnings=(
            *_warnings(kind, chip, found.plans[0], calibrations),
            *_of_schedule(found.plans[0].job.layout.schedule, stack),
            *_of_experts(found.plans[0].job, program, stack),
            *_of_parts(found.plans[0].job.layout.recompute_parts, stack),
        ),
    )


def _dtype(dtype: str, chip: Accelerator) -> str:
    if dtype in _able(chip) or (dtype == "bf16" and "fp16" in chip.flops_per_s):
        return dtype if dtype in chip.flops_per_s else "fp16"
    if dtype in NOT_TRAINED_IN:
        raise UsageError(f"nothing is trained in {dtype}: --dtype one of {', '.join(_able(chip))}")
    able = ", ".join(_able(chip))
    raise UsageError(f"{chip.name} does not multiply in {dtype}: --dtype one of {able}")


def _able(chip: Accelerator) -> list[str]:
    """In what it can train."""
    return [name for name in chip.flops_per_s if name not in NOT_TRAINED_IN]


def dtype_on(dtype: str, chip: Accelerator, kinds: Sequence[Accelerator]) -> str:
    """That dtype; where only others of these chips have it, the nearest that this one has."""
    able = _able(chip)
    if dtype in able or not any(dtype in _able(other) for other in kinds):
        return dtype
    return next((name for name in NEAREST.get(dtype, ()) if name in able), dtype)


def _found(request: Request, search: Search, ask: Wanted) -> Found:
    if request.chips:
        return search.find(ask)
    assert request.tokens, "a deadline comes with tokens"
    assert request.deadline_s, "the command asks for one or the other"
    needed = request.tokens / request.deadline_s
    low, high = 0, _first_guess(search, ask, needed)
    for _ in range(12):
        found = search.tried(replace(ask, chips=high))
        speed = found.plans[0].tokens_per_s if found.plans else 0.0
        if speed >= needed:
            return _fewest(search, ask, needed, (low, high, found))
        if not speed:
            break
        low, high = high, max(_round(high * needed / speed), high + UNIT)
    raise UsageError(_too_late(request, search, ask, high))


def _fewest(search: Search, ask: Wanted, needed: float, between: tuple[int, int, Found]) -> Found:
    """The fewest chips, in units and below one in halves, that make it, where `low` do not and `high` do."""
    low, high, found = between
    while high - low > UNIT:
        middle = low + (high - low) // (2 * UNIT) * UNIT
        tried = search.tried(replace(ask, chips=middle))
        if tried.plans and tried.plans[0].tokens_per_s >= needed:
            high, found = middle, tried
        else:
            low = middle
    while low == 0 and high > 1:
        tried = search.tried(replace(ask, chips=high // 2))
        if not tried.plans or tried.plans[0].tokens_per_s < needed:
            break
        high, found = high // 2, tried
    return found


def _first_guess(search: Search, ask: Wanted, needed: float) -> int:
    """From the speed on the fewest chips that it fits on. Raises `UsageError` where it fits on none."""
    for chips in (*(UNIT * 2**n for n in range(12)), 32, 16, 8, 4, 2, 1):
        found = search.tried(replace(ask, chips=chips))
        if found.plans:
            speed = found.plans[0].tokens_per_s
            return chips if speed >= needed else _round(chips * needed / speed)
    search.find(replace(ask, chips=UNIT))
    raise AssertionError("it raises what is wrong")


def _too_late(request: Request, search: Search, ask: Wanted, most: int) -> str:
    """What the quickest takes of those tried."""
    assert request.tokens, "a deadline comes with tokens"
    sizes = (most >> n for n in range(most.bit_length()))
    found = [
        one.plans[0] for one in (search.tried(replace(ask, chips=n)) for n in sizes) if one.plans
    ]
    quickest = max(found, key=lambda plan: plan.tokens_per_s)
    days = request.tokens / quickest.tokens_per_s / DAY_S
    return (
        f"{search.chip.name}: more chips do not make it in time: over more than about "
        f"{quickest.job.layout.chips:,} the batch of {request.batch:,} sequences is shared out too thin, and "
        f"they take {days:,.3g} days; a larger --batch or a later --deadline"
    )


def _round(chips: float) -> int:
    return ceil(chips / UNIT) * UNIT


def _warnings(kind: Kind, chip: Accelerator, best: Plan, known: Calibrations) -> Iterator[str]:
    """Where a prediction goes beyond what was compared with published results."""
    if not known.knows_generation(kind) and not known.knows(kind):
        yield f"no published training result on {kind.generation} chips: an extrapolation"
    elif not known.knows(kind):
        yield f"no published training result of {kind.words}: judged by its generation"
    if best.job.model.has_states_of_mamba:
        yield (
            "state-space layers: of one such model steps are published, which were predicted 21 to 29 % too fast "
            "before they were fitted to"
        )
    if best.job.layout.chips > 16384:
        yield "more chips than in any published result"
    if best.job.sequence > 131072:
        yield "longer sequences than in any published result"
    if chip.available:
        yield f"{chip.name} is {chip.available}"
    yield from assumed(chip)
    if chip.checked != "opened":
        yield f"figures of {chip.name} are recalled, not read"


def who_runs(name: str, stack: str) -> str:
    """How a schedule is asked for in a software, or which others run it; empty for 1F1B."""
    if name == PLAIN:
        return ""
    here = offer(stack, name)
    if here:
        return f"{name} in {here.title}: {here.option}"
    others = dict.fromkeys(one.title for one in offers() if one.schedule == name)
    return f"{stack} does not run {name}; it is in: {', '.join(others)}"


def _of_schedule(name: str, stack: str) -> Iterator[str]:
    """What a reader must know of the schedule of a layout."""
    if name != PLAIN:
        yield who_runs(name, stack)
        yield f"{name}: what it gains is reckoned from its passes; hardly any published result has it"


def _of_experts(job: Job, program: Program, stack: str) -> Iterator[str]:
    """What lets tokens travel to experts beside other work in 1F1B, where a plan rests on that."""
    one = offer(stack, PLAIN)
    beside = job.program.overlaps_experts and not program.overlaps_experts
    if one and beside and job.layout.schedule == PLAIN:
        yield f"tokens travel to experts beside other work, in {one.title}: {one.option}"


def _of_parts(names: tuple[str, ...], stack: str) -> Iterator[str]:
    """How parts of layers that are reckoned again are asked for."""
    asked = options(names, stack)
    if asked:
        yield f"recompute {'+'.join(names)} in {stack}: {' '.join(asked)}"


def usual_batch(found: Model, sequence: int) -> int:
    """4, 16 or 63 million tokens: as Llama 2, Llama 3 405B and DeepSeek-V3 were trained with."""
    size = found.parameters
    tokens = 2**22 if size < 1e11 else 2**24 if size < 5e11 else 15360 * 4096
    return max(tokens // max(sequence, 1), 1)


def why(best: Plan, other: Plan) -> str:
    """Why `other` is slower, by what takes longer for a token."""
    ours, theirs = (
        {name: value / plan.job.tokens for name, value in plan.step.parts.items()}
        for plan in (best, other)
    )
    chips = other.job.layout.chips / best.job.layout.chips
    # A token's share of time on all chips together, so that unlike numbers of chips compare.
    whole = best.step.seconds / best.job.tokens
    more = {name: (theirs[name] * chips - ours[name]) / whole for name in ours}
    largest = sorted(more, key=lambda name: -more[name])[:2]
    told = [f"{name} {more[name]:+.1%}" for name in largest if more[name] > 0.0005]
    slower = 1 - other.tokens_per_s / best.tokens_per_s
    idle = f"{best.job.layout.chips - other.job.layout.chips} chips idle" if chips < 0.999 else ""
    return f"{slower:.1%} slower: " + ", ".join([*told, *([idle] if idle else [])] or ["a tie"])
