"""The page of a plan of training: what stands on it, from the same model that made the plan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

from cordee.core.pages.scatter import Point, Series, scatter
from cordee.plan.calibration.table import Calibrations
from cordee.plan.compare import DAY_S, Outcome, Request, why
from cordee.plan.page import Basis, Plot, Ranking, View, bars, bettered, price_text, source_text
from cordee.plan.training_report import GIB, cells, lines, remarks
from cordee.plan.training_scope import on_more_and_fewer, sensitivities

TRILLION = 1e12


@dataclass(frozen=True, slots=True)
class Spot:
    """A run on some number of chips."""

    run: Outcome
    days: float
    price: float
    """What it costs: dollars, or chips where a price is not known."""


def view(request: Request, outcomes: Sequence[Outcome], known: Calibrations, top: int) -> View:
    """Everything on the page."""
    names = tuple(outcome.chip.name for outcome in outcomes)
    model = request.model
    facts = [
        ("parameters", f"{model.parameters / 1e9:,.1f} billion"),
        ("sequence", f"{request.sequence:,} tokens"),
        ("batch", f"{request.batch:,} sequences"),
    ]
    facts += [("run", _tokens(request.tokens))] if request.tokens else []
    plot = _plot(request, outcomes, known)
    return View(
        command="cordee plan train",
        title=f"Train {model.name}: {' beside '.join(names)}",
        lead=_lead(request, outcomes),
        facts=tuple(facts),
        chips=names,
        table=tuple((title.strip(), tuple(row)) for title, row in lines(request, outcomes)),
        plots=(plot,),
        plotted="Cost against time" if _priced(outcomes) else "Chips against time",
        time=bars([(o.chip.name, _step(o), o.best.step.parts) for o in outcomes], "s", 1),
        time_words="Of a step in the best layout, on the slowest stage. They add up to the step.",
        memory=bars([(o.chip.name, _memory(o), _held(o)) for o in outcomes], "GiB", GIB),
        memory_words="Of the fullest chip in the best layout.",
        sensitivities=tuple(
            (o.chip.name, tuple(sensitivities(request, o, known))) for o in outcomes
        ),
        sensitivity_words=(
            "How much longer or shorter the run is, with the best layout searched anew each time on the same "
            "number of chips. A bar that fills its side is half the time, and more."
        ),
        sensitivity_titles=("shorter, or longer", "time", "and"),
        rankings=tuple(_ranking(outcome, top) for outcome in outcomes),
        basis=tuple(_basis(outcome) for outcome in outcomes),
        remarks=tuple(remarks(request, outcomes)),
    )


def _lead(request: Request, outcomes: Sequence[Outcome]) -> str:
    told = []
    for outcome in outcomes:
        head = f"{outcome.best.job.layout.chips:,} {outcome.chip.name}"
        if outcome.seconds is None:
            told.append(f"{head} give {outcome.best.tokens_per_s:,.0f} tokens a second")
        else:
            told.append(f"{head} take {outcome.seconds / DAY_S:,.1f} days")
    return f"{'; '.join(told)}."


def _tokens(tokens: float) -> str:
    return (
        f"{tokens / TRILLION:g} trillion tokens"
        if tokens >= TRILLION
        else f"{tokens / 1e9:g} billion tokens"
    )


def _priced(outcomes: Sequence[Outcome]) -> bool:
    return all(outcome.price for outcome in outcomes)


def _plot(request: Request, outcomes: Sequence[Outcome], known: Calibrations) -> Plot:
    """Runs on a quarter to four times the chips; those that no other betters are filled."""
    run = replace(request, tokens=request.tokens or TRILLION)
    priced = _priced(outcomes)
    found = []
    for outcome in outcomes:
        own = replace(outcome, tokens=run.tokens)
        found.append([_spot(one, priced) for one in on_more_and_fewer(run, own, known)])
    every = [(spot.days, spot.price) for spots in found for spot in spots]
    series = [
        Series(
            outcome.chip.name,
            tuple(
                Point(s.days, s.price, _said(s), not bettered((s.days, s.price), every))
                for s in spots
            ),
        )
        for outcome, spots in zip(outcomes, found, strict=True)
    ]
    days = "days" if request.tokens else "days for a trillion tokens"
    beside = "million USD to rent" if priced else "chips"
    names = ", ".join(one.name for one in series)
    return Plot(
        drawing=scatter(f"{beside} against {days}: {names}", (days, beside), series),
        caption=(
            "The best layouts on a quarter, half, all, twice and four times the chips, where they fit; filled: "
            "no other is both quicker and "
            + (
                "cheaper. Prices are the middle of those asked."
                if priced
                else "on fewer chips. No price is known for all: --chips-file brings yours."
            )
        ),
    )


def _spot(run: Outcome, priced: bool) -> Spot:
    seconds, cost = run.seconds, run.cost_usd
    assert seconds is not None, "a plot has tokens"
    chips = float(run.best.job.layout.chips)
    return Spot(run, seconds / DAY_S, sum(cost) / 2e6 if priced and cost else chips)


def _said(spot: Spot) -> str:
    layout, cost = spot.run.best.job.layout, spot.run.cost_usd
    money = f", {sum(cost) / 2:,.0f} USD" if cost else ""
    return f"{layout.chips:,} {spot.run.chip.name}: {spot.days:,.3g} days{money}, {layout.words}"


def _step(outcome: Outcome) -> str:
    return f"{outcome.best.step.seconds:.2f} s a step"


def _memory(outcome: Outcome) -> str:
    return f"{outcome.best.memory.total / GIB:.0f} of {outcome.chip.memory_bytes / GIB:.0f} GiB"


def _held(outcome: Outcome) -> dict[str, float]:
    """What a chip holds, and what is left of it."""
    memory = outcome.best.memory
    names = ("weights", "gradients", "optimizer", "activations", "buffers", "libraries")
    found = {name: float(getattr(memory, name)) for name in names}
    return found | {"left": max(outcome.chip.memory_bytes - memory.total, 0.0)}


def _ranking(outcome: Outcome, top: int) -> Ranking:
    return Ranking(
        title=f"{outcome.chip.name}: the best of {outcome.tried:,} layouts, {len(outcome.plans):,} fit",
        columns=("layout", "chips", "step s", "tokens/s", "GiB", "why not the first"),
        rows=tuple(
            (*cells(plan), "the best" if plan is outcome.best else why(outcome.best, plan))
            for plan in outcome.plans[: max(top, 2)]
        ),
    )


def _basis(outcome: Outcome) -> Basis:
    factor = exp(outcome.off)
    return Basis(
        chip=outcome.chip.name,
        interval=f"speed and days: from 1/{factor:.2f} to {factor:.2f} times",
        judged_by=f"predictions for {outcome.judged_by.words.strip() or 'all training results'}",
        figures=source_text(outcome.chip),
        price=price_text(outcome.price),
    )
