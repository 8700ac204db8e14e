"""The page of a plan of a traced program: what stands on it."""

from collections.abc import Iterator, Sequence
from math import exp

from cordee.plan.calibration.table import Calibrations
from cordee.plan.changes import changed
from cordee.plan.page import Basis, Ranking, Sensitivity, View, bars, price_text, source_text
from cordee.plan.traced.asked import Asked
from cordee.plan.traced.compare import Outcome, outcome
from cordee.plan.traced.report import GIB, lines, remarks, seconds_text

UNCHANGED = "memory twice as large"
"""A program that was traced takes no other layout where there is more room."""


def view(asked: Asked, outcomes: Sequence[Outcome], known: Calibrations, top: int) -> View:
    """Everything on the page."""
    names = tuple(one.chip.name for one in outcomes)
    return View(
        command="cordee plan program",
        title=f"{asked.name}: {' beside '.join(names)}",
        lead="; ".join(_told(one) for one in outcomes) + ".",
        facts=tuple(_facts(asked)),
        chips=names,
        table=tuple((title.strip(), tuple(row)) for title, row in lines(asked, outcomes)),
        plots=(),
        plotted="",
        time=bars(
            [(one.chip.name, seconds_text(one.seconds), one.parts) for one in outcomes], "ms", 1e-3
        ),
        time_words="On the rank that is last to end. They add up to the whole.",
        memory=bars([(one.chip.name, _held(one), _memory(one)) for one in outcomes], "GiB", GIB),
        memory_words="Of the fullest chip, as the emulated chip's allocator counted it.",
        sensitivities=tuple((one.chip.name, tuple(_changes(one, known))) for one in outcomes),
        sensitivity_words=(
            "How much longer or shorter the same program takes. A bar that fills its side is half the time, and more."
        ),
        sensitivity_titles=("shorter, or longer", "time", "and"),
        rankings=tuple(_modules(one, top) for one in outcomes),
        rankings_title="Which modules take most",
        basis=tuple(_basis(one) for one in outcomes),
        remarks=tuple(remarks(asked, outcomes)),
    )


def _told(one: Outcome) -> str:
    what = "a step" if one.asked.cut.trains else f"{one.asked.cut.passes} passes"
    return f"{what} on {one.asked.chips:,} {one.chip.name} takes {seconds_text(one.seconds)}"


def _facts(asked: Asked) -> Iterator[tuple[str, str]]:
    yield "ranks traced", f"{len(asked.ranks)}"
    yield "operators", f"{sum(map(len, asked.cut.calls)):,}"
    yield "arithmetic", f"{asked.flops / 1e12:,.3g} Tflop"
    if asked.steps:
        yield "run", f"{asked.steps:,.0f} steps"


def _held(one: Outcome) -> str:
    return f"{one.memory_bytes / GIB:.3g} of {one.chip.memory_bytes / GIB:.0f} GiB"


def _memory(one: Outcome) -> dict[str, float]:
    return {
        "tensors": one.memory_bytes,
        "left": max(one.chip.memory_bytes - one.memory_bytes, 0.0),
    }


def _changes(one: Outcome, known: Calibrations) -> Iterator[Sensitivity]:
    for what, chip in changed(one.chip):
        if what != UNCHANGED:
            found = outcome(one.asked, chip, one.price, known)
            yield Sensitivity(what=what, change=found.seconds / one.seconds - 1)
    yield Sensitivity(
        what="operators start in half the time",
        change=one.quick_s / one.seconds - 1,
        remark="as with recorded graphs, and more",
    )
    yield Sensitivity(
        what="kernels between products are one",
        change=one.fused_s / one.seconds - 1,
        remark="as a compiler makes them, or operators of torch_npu that stand for several",
    )


def _modules(one: Outcome, top: int) -> Ranking:
    ordered = sorted(one.modules.items(), key=lambda item: -item[1])[: max(top, 3)]
    return Ranking(
        title=f"{one.chip.name}: layers together",
        columns=("module", "ms", "of the whole"),
        rows=tuple(
            (name, f"{seconds * 1e3:,.2f}", f"{seconds / one.seconds:.0%}")
            for name, seconds in ordered
        ),
    )


def _basis(one: Outcome) -> Basis:
    factor = exp(one.off)
    return Basis(
        chip=one.chip.name,
        interval=f"from 1/{factor:.2f} to {factor:.2f} times",
        judged_by=f"predictions for {one.judged_by.words.strip() or 'all training results'}",
        figures=source_text(one.chip),
        price=price_text(one.price),
    )
