"""What a plan of a training run says on a terminal, and to a machine."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from cordee.core.tables import ranked, side_by_side
from cordee.plan.compare import DAY_S, Outcome, Request, why
from cordee.plan.figures import cost_text, days_text, energy_text
from cordee.plan.search import Plan

GIB = 2**30


def comparison(request: Request, outcomes: Sequence[Outcome]) -> Table:
    """One line for each kind of chip."""
    return side_by_side((one.chip.name for one in outcomes), lines(request, outcomes))


def lines(request: Request, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[str]]]:
    """Each line of it: what it is, and a cell for each kind of chip."""
    yield "software", [f"{o.stack} {o.best.job.program.dtype}" for o in outcomes]
    yield "chips", [f"{o.best.job.layout.chips:,}" for o in outcomes]
    yield "layout", [o.best.job.layout.words for o in outcomes]
    yield "memory of a chip", [_memory(o) for o in outcomes]
    yield "a step", [f"{o.best.step.seconds:.2f} s" for o in outcomes]
    yield "tokens/s of a chip", [f"{o.best.step.tokens_per_s_per_chip:,.0f}" for o in outcomes]
    yield "tokens/s", [f"{o.best.tokens_per_s:,.0f}" for o in outcomes]
    yield "  in 9 of 10 cases", [f"{o.speed[0]:,.0f} to {o.speed[2]:,.0f}" for o in outcomes]
    yield "MFU", [f"{o.mfu:.1%}" for o in outcomes]
    if request.tokens:
        yield "days", [_days(o) for o in outcomes]
        yield "USD to rent", [cost_text(o.cost_usd) for o in outcomes]
        yield "MWh of chips", [energy_text(o.energy_j) for o in outcomes]
    first = outcomes[0]
    if len(outcomes) > 1:
        title = f"chips as fast as {first.best.job.layout.chips:,} {first.chip.name}"
        yield title, [f"{_as_fast(first, o):,.0f}" for o in outcomes]
    yield "most of the time", [o.bottleneck for o in outcomes]


def _as_fast(first: Outcome, other: Outcome) -> float:
    """At the same speed of a chip; more chips lose some of it."""
    return first.best.tokens_per_s / other.best.step.tokens_per_s_per_chip


def _memory(outcome: Outcome) -> str:
    memory = outcome.best.memory
    return f"{memory.total / GIB:.0f} of {outcome.chip.memory_bytes / GIB:.0f} GiB"


def _days(outcome: Outcome) -> str:
    assert outcome.seconds is not None
    return days_text(outcome.seconds / DAY_S, outcome.off)


def ranking(outcome: Outcome, top: int) -> Group:
    """The best layouts on one chip, and why the others are slower."""
    title = (
        f"{outcome.chip.name}: the best of {outcome.tried:,} layouts, {len(outcome.plans):,} fit"
    )
    numbers = ("chips", "step s", "tokens/s", "GiB")
    return ranked(
        numbers,
        (
            (cells(plan), "" if plan is outcome.best else why(outcome.best, plan))
            for plan in outcome.plans[:top]
        ),
        title,
    )


def cells(plan: Plan) -> Iterator[str]:
    """Of a layout in a ranking, without the reason."""
    yield plan.job.layout.words
    yield f"{plan.job.layout.chips:,}"
    yield f"{plan.step.seconds:.2f}"
    yield f"{plan.tokens_per_s:,.0f}"
    yield f"{plan.memory.total / GIB:.1f}"


def remarks(request: Request, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What a reader must know before a figure is relied on."""
    yield from (f"{request.model.name}: {remark}" for remark in request.model.remarks)
    for outcome in outcomes:
        kind = outcome.judged_by
        basis = kind.words.strip() or "all training results"
        yield f"{outcome.chip.name}: the interval is that of predictions for: {basis}"
        dtype = outcome.best.job.program.dtype
        if dtype != request.dtype:
            yield f"{outcome.chip.name} does not multiply in {request.dtype}: reckoned in {dtype}"
        yield from (f"{outcome.chip.name}: {warning}" for warning in outcome.warnings)
    if any(outcome.chip.maker == "Huawei" for outcome in outcomes):
        yield (
            "guidance of the US Bureau of Industry and Security of May 2025 says that use of Ascend 910B, "
            "910C and 910D may breach export rules: ask somebody who knows before you buy"
        )


def as_data(request: Request, outcomes: Sequence[Outcome], top: int) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "model": request.model.name,
        "parameters": request.model.parameters,
        "active_parameters": request.model.active_parameters,
        "sequence": request.sequence,
        "batch": request.batch,
        "tokens": request.tokens,
        "chips": [_outcome(outcome, top) for outcome in outcomes],
        "remarks": list(remarks(request, outcomes)),
    }


def _outcome(outcome: Outcome, top: int) -> dict[str, Any]:
    low, _, high = outcome.speed
    return {
        "chip": outcome.chip.name,
        "software": outcome.stack,
        "layouts_tried": outcome.tried,
        "layouts_that_fit": len(outcome.plans),
        "tokens_per_s_low": low,
        "tokens_per_s_high": high,
        "mfu": outcome.mfu,
        "seconds": outcome.seconds,
        "cost_usd": outcome.cost_usd,
        "energy_j": outcome.energy_j,
        "plans": [_plan(outcome, plan) for plan in outcome.plans[:top]],
    }


def _plan(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    layout, memory = plan.job.layout, plan.memory
    degrees = ("chips", "tensor", "pipeline", "chunks", "context", "expert", "data")
    rest = ("micro_batch", "zero", "recompute", "recompute_layers", "recompute_parts", "schedule")
    return {
        "layout": {name: getattr(layout, name) for name in (*degrees, *rest)},
        "batch": plan.job.batch,
        "step_s": plan.step.seconds,
        "tokens_per_s": plan.tokens_per_s,
        "parts_s": plan.step.parts,
        "memory_bytes": {
            name: getattr(memory, name)
            for name in ("weights", "gradients", "optimizer", "activations", "buffers", "total")
        },
        "why_not_the_first": None if plan is outcome.best else why(outcome.best, plan),
    }
