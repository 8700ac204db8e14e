"""A traced program on several kinds of chips: time, memory, cost, and where the limit is."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, log2, prod

from cordee.hw.accelerator import Accelerator, Price
from cordee.plan.calibration.table import Calibrations, Kind
from cordee.plan.calibration.widths import nearest, widths
from cordee.plan.traced.asked import Asked, module_numbers
from cordee.plan.traced.items import fused, items_of
from cordee.plan.traced.memory import peak_bytes
from cordee.plan.traced.steps import starts
from cordee.plan.traced.target import ASCEND, UNSURE, Target
from cordee.plan.traced.timeline import Over, run

ROOM = 0.95
"""Of a chip's memory, what tensors and the allocator's gaps may fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A traced program on one kind of chip."""

    chip: Accelerator
    asked: Asked
    over: Over
    seconds: float
    """Of a step, or of the whole run where nothing is trained."""
    quick_s: float
    """The same where the host takes half as long to start an operator."""
    fused_s: float
    """The same where vector kernels that follow one another are one."""
    first_pass_s: float | None
    memory_bytes: float
    """Of the fullest chip."""
    price: Price | None
    off: float
    judged_by: Kind
    remarks: tuple[str, ...]

    @property
    def speed(self) -> float:
        """Steps of the traced program a second, over all copies."""
        return self.asked.copies / self.seconds

    @property
    def interval_s(self) -> tuple[float, float]:
        """Within which a step is in 9 of 10 cases."""
        return self.seconds * exp(-self.off), self.seconds * exp(self.off)

    @property
    def parts(self) -> Mapping[str, float]:
        """Where the time goes; they add up to it."""
        found = {
            name: value * self.asked.factor for name, value in self.over.parts.items() if value > 0
        }
        return found | {"slowest of many nodes": max(self.seconds - sum(found.values()), 0.0)}

    @property
    def fits(self) -> bool:
        return self.memory_bytes <= ROOM * self.chip.memory_bytes

    @property
    def utilization(self) -> float:
        """Of the peak in 16 bits, what the program's own products use."""
        peak = max(self.chip.flops_per_s.get(name, 0.0) for name in ("bf16", "fp16"))
        return self.asked.flops / self.seconds / (peak * len(self.asked.ranks))

    @property
    def days(self) -> float | None:
        """Of the whole run."""
        return self.asked.steps * self.seconds / 86400 if self.asked.steps else None

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        """Of renting the chips for the run."""
        if self.price is None or self.days is None:
            return None
        hours = self.days * 24 * self.asked.chips
        return hours * self.price.low_usd, hours * self.price.high_usd

    @property
    def energy_j(self) -> float | None:
        """Of the chips at the power that they are built for."""
        if self.chip.power_w is None or self.days is None:
            return None
        return self.chip.power_w * self.asked.chips * self.days * 86400

    @property
    def modules(self) -> Mapping[str, float]:
        """Seconds by module, those of all layers together."""
        found: dict[str, float] = defaultdict(float)
        names = module_numbers(self.asked.cut)
        by_number = {number: name for name, number in names.items()}
        for number, seconds in self.over.modules.items():
            found[by_number.get(number, "outside modules")] += seconds * self.asked.factor
        return found

    @property
    def bottleneck(self) -> str:
        """What takes most of the time, and what next."""
        first, second = sorted(self.parts.items(), key=lambda one: -one[1])[:2]
        return ", ".join(f"{name} {value / self.seconds:.0%}" for name, value in (first, second))


def outcome(asked: Asked, chip: Accelerator, price: Price | None, known: Calibrations) -> Outcome:
    """The program on that chip. Raises `UsageError` where it cannot run there."""
    target = Target(chip, known, asked.launch_s, asked.is_mixture, asked.tf32)
    marks = starts(asked.cut.calls[0])[1:2] if not asked.cut.trains else []
    items, at = items_of(asked, target, marks)
    over = run(items, at)
    compiled = run([fused(own) for own in items])
    quicker = Target(chip, known, asked.launch_s / 2, asked.is_mixture, asked.tf32)
    quick = run(items_of(asked, quicker, ())[0])
    nodes = max(asked.chips / chip.chips_per_node, 1)
    slower = 1 + target.scale * log2(nodes) if asked.cut.trains else 1.0
    off, judged_by = nearest(widths(), target.kind)
    memory = [
        peak_bytes(rank, calls, layers)
        for rank, calls, layers in zip(asked.ranks, asked.cut.calls, asked.layers, strict=True)
    ]
    return Outcome(
        chip=chip,
        asked=asked,
        over=over,
        seconds=over.seconds * slower * asked.factor,
        quick_s=quick.seconds * slower * asked.factor,
        fused_s=compiled.seconds * slower * asked.factor,
        first_pass_s=next((at * asked.factor for at in over.marks.values()), None),
        memory_bytes=max(memory),
        price=price,
        off=max(off, log(UNSURE)),
        judged_by=judged_by,
        remarks=(*target.remarks, *_warnings(asked, target)),
    )


def as_measured(
    asked: Asked, measured: Sequence[tuple[Accelerator, float]], known: Calibrations
) -> Asked:
    """With the factor by which steps that were measured, in seconds by chip, are longer than predicted ones.

    They ran on as many chips as were traced. What a program does beside its operators is the same on another chip.
    """
    if not measured:
        return asked
    traced = replace(asked, chips=len(asked.ranks), factor=1.0)
    ratios = [seconds / outcome(traced, chip, None, known).seconds for chip, seconds in measured]
    return replace(asked, factor=prod(ratios) ** (1 / len(ratios)))


def _warnings(asked: Asked, target: Target) -> Iterator[str]:
    chip = target.chip
    if not target.known.knows_generation(target.kind):
        yield f"no published training result on {chip.generation} chips: an extrapolation"
    if chip.available:
        yield f"{chip.name} is {chip.available}"
    if chip.checked != "opened":
        yield f"figures of {chip.name} are recalled, not read"
    if chip.maker == ASCEND:
        yield from _without_kernel(asked)


def _without_kernel(asked: Asked) -> Iterator[str]:
    """Operators that an Ascend has no kernel for, and how often a step calls them."""
    host: dict[str, int] = defaultdict(int)
    missing: dict[str, int] = defaultdict(int)
    for call in asked.cut.calls[0]:
        support = call.signature.support
        if support == "host":
            host[call.signature.operator] += 1
        elif support == "missing" or call.failed is not None:
            missing[call.signature.operator] += 1
    for what, found in (("run on the host", host), ("cannot run", missing)):
        if found:
            names = ", ".join(f"{name} ({count}x)" for name, count in sorted(found.items()))
            yield f"no kernel on Ascend, {what}: {names}"
