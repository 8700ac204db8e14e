"""What a plan of a traced program says on a terminal, and to a machine."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from cordee.core.tables import side_by_side, table
from cordee.plan.figures import cost_text, days_text, energy_text
from cordee.plan.traced.asked import Asked
from cordee.plan.traced.compare import Outcome

GIB = 2**30


def comparison(asked: Asked, outcomes: Sequence[Outcome]) -> Table:
    """One line for each thing that is told, a column for each kind of chip."""
    return side_by_side((one.chip.name for one in outcomes), lines(asked, outcomes))


def lines(asked: Asked, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[str]]]:
    """Each line: what it is, and a cell for each kind of chip."""
    what = "a step" if asked.cut.trains else "all passes"
    yield "chips", [f"{asked.chips:,}" for _ in outcomes]
    yield "copies of it", [f"{asked.copies:,}" for _ in outcomes]
    yield "memory of a chip", [_memory(one) for one in outcomes]
    yield what, [seconds_text(one.seconds) for one in outcomes]
    yield "  in 9 of 10 cases", [_interval(one) for one in outcomes]
    yield "  with a host twice as quick", [seconds_text(one.quick_s) for one in outcomes]
    yield "  with kernels fused", [seconds_text(one.fused_s) for one in outcomes]
    if not asked.cut.trains and asked.cut.passes > 1:
        yield "first pass", [seconds_text(one.first_pass_s or 0.0) for one in outcomes]
        yield "each of the others", [seconds_text(_later(one)) for one in outcomes]
    yield "of the peak in 16 bits", [f"{one.utilization:.1%}" for one in outcomes]
    if asked.steps:
        yield "days", [_days(one) for one in outcomes]
        yield "USD to rent", [cost_text(one.cost_usd) for one in outcomes]
        yield "MWh of chips", [energy_text(one.energy_j) for one in outcomes]
    if len(outcomes) > 1:
        first = outcomes[0]
        title = f"chips as fast as {asked.chips:,} {first.chip.name}"
        yield title, [f"{asked.chips * first.speed / one.speed:,.1f}" for one in outcomes]
    yield "most of the time", [one.bottleneck for one in outcomes]


def _later(outcome: Outcome) -> float:
    first = outcome.first_pass_s or 0.0
    return (outcome.seconds - first) / (outcome.asked.cut.passes - 1)


def seconds_text(seconds: float) -> str:
    """With the unit that suits."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _memory(outcome: Outcome) -> str:
    text = f"{outcome.memory_bytes / GIB:.3g} of {outcome.chip.memory_bytes / GIB:.0f} GiB"
    return text if outcome.fits else f"{text}: does not fit"


def _interval(outcome: Outcome) -> str:
    low, high = outcome.interval_s
    return f"{seconds_text(low)} to {seconds_text(high)}"


def _days(outcome: Outcome) -> str:
    assert outcome.days is not None, "there are steps"
    return days_text(outcome.days, outcome.off)


def parts(outcomes: Sequence[Outcome]) -> Table:
    """Where the time goes."""
    return _seconds("where the time goes", outcomes, [one.parts for one in outcomes])


def modules(outcomes: Sequence[Outcome], top: int) -> Table:
    """Which modules take most, those of all layers together."""
    title = "modules that take most, all layers together"
    return _seconds(title, outcomes, [one.modules for one in outcomes], top)


def _seconds(
    title: str,
    outcomes: Sequence[Outcome],
    found: Sequence[Mapping[str, float]],
    top: int | None = None,
) -> Table:
    names = dict.fromkeys(
        name
        for one, of in zip(found, outcomes, strict=True)
        for name, value in one.items()
        if value > 0.0005 * of.seconds
    )
    ordered = sorted(names, key=lambda name: -max(one.get(name, 0.0) for one in found))
    made = table((), [one.chip.name for one in outcomes], (title,))
    for name in ordered[:top]:
        shares = (
            f"{one.get(name, 0.0) * 1e3:,.2f} ms {one.get(name, 0.0) / of.seconds:>4.0%}"
            for one, of in zip(found, outcomes, strict=True)
        )
        made.add_row(*shares, name)
    return made


def remarks(asked: Asked, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What a reader must know before a figure is relied on."""
    cut = asked.cut
    ranks = "1 rank" if len(asked.ranks) == 1 else f"{len(asked.ranks)} ranks"
    if cut.trains:
        yield f"{asked.name}: step {cut.number} of {cut.of} that were traced, {ranks}"
    else:
        yield f"{asked.name}: no optimizer runs; all {cut.passes} passes forward, {ranks}"
    if not all(rank.finished for rank in asked.ranks):
        yield f"{asked.name}: the program did not come to its end"
    layers = asked.layers[0]
    if layers.times != 1:
        yield (
            f"{asked.name}: {layers.traced} modules {layers.prefix}.* of a rank stand for "
            f"{layers.traced * layers.times:g}; memory of more of them is reckoned, not counted"
        )
    if asked.factor != 1:
        yield f"all times are {asked.factor:.3g} times those predicted, as was measured (--measured)"
    yield from _copied(asked)
    yield (
        f"the host is taken to start an operator in {asked.launch_s * 1e6:g} us, in the pass backward in half of that "
        "(--launch-us); a program that records graphs, or is compiled, is quicker"
    )
    yield (
        "with kernels fused: all between two products are one, as a compiler makes them, or operators of torch_npu that "
        "stand for several"
    )
    for one in outcomes:
        basis = one.judged_by.words.strip() or "all training results"
        yield (
            f"{one.chip.name}: the interval is that of predictions for: {basis}, and 1.3 times at least, for steps of "
            "programs that were traced are published for A100 only"
        )
        yield from (f"{one.chip.name}: {remark}" for remark in one.remarks)


def _copied(asked: Asked) -> Iterator[str]:
    if asked.copies == 1 or not asked.cut.trains:
        return
    if asked.words.summing:
        yield "copies of the program join the groups that sum up its gradients; memory stays as traced"
    else:
        yield "copies of the program sum up gradients among themselves beside the pass backward"


def as_data(asked: Asked, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "program": asked.name,
        "trains": asked.cut.trains,
        "step": asked.cut.number,
        "steps_traced": asked.cut.of,
        "passes": asked.cut.passes,
        "ranks": len(asked.ranks),
        "chips": asked.chips,
        "copies": asked.copies,
        "flops": asked.flops,
        "factor": asked.factor,
        "layers": {
            "modules": asked.layers[0].prefix,
            "traced": asked.layers[0].traced,
            "times": asked.layers[0].times,
        },
        "outcomes": [_outcome(one) for one in outcomes],
        "remarks": list(remarks(asked, outcomes)),
    }


def _outcome(one: Outcome) -> dict[str, Any]:
    low, high = one.interval_s
    return {
        "chip": one.chip.name,
        "seconds": one.seconds,
        "seconds_low": low,
        "seconds_high": high,
        "seconds_with_a_host_twice_as_quick": one.quick_s,
        "seconds_with_kernels_fused": one.fused_s,
        "first_pass_s": one.first_pass_s,
        "parts_s": dict(one.parts),
        "modules_s": dict(one.modules),
        "utilization": one.utilization,
        "memory_bytes": one.memory_bytes,
        "fits": one.fits,
        "days": one.days,
        "cost_usd": one.cost_usd,
        "energy_j": one.energy_j,
    }
