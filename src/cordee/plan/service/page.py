"""The page of a plan of a service: what stands on it, from the same model that made the plan."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp

from cordee.core.pages.scatter import Point, Series, scatter
from cordee.plan.calibration.serving_table import ServingCalibrations
from cordee.plan.page import Basis, Plot, Ranking, View, bars, bettered, price_text, source_text
from cordee.plan.service.compare import ServingOutcome, seconds_of, why
from cordee.plan.service.report import GIB, basis, cells, figure, lines, remarks
from cordee.plan.service.scope import sensitivities, within_other_limits
from cordee.plan.service.search import ServingPlan
from cordee.plan.service.wanted import Wanted

THOUSAND = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A time that is limited, and stands below a plot."""

    limit: str
    """Which of `Wanted`."""
    words: str
    of: Callable[[ServingPlan], float]
    """What 9 of 10 requests stay below."""


LATENCIES = (
    Latency(
        limit="between_s",
        words="ms between tokens (TPOT)",
        of=lambda plan: plan.served.between(0.9),
    ),
    Latency(
        limit="first_s",
        words="ms to the first token (TTFT)",
        of=lambda plan: plan.served.first(0.9),
    ),
)


def serving_view(
    wanted: Wanted, outcomes: Sequence[ServingOutcome], known: ServingCalibrations, top: int
) -> View:
    """Everything on the page."""
    names = tuple(outcome.chip.name for outcome in outcomes)
    return View(
        command="cordee plan serve",
        title=f"Serve {wanted.model.name}: {' beside '.join(names)}",
        lead=_lead(outcomes),
        facts=tuple(_facts(wanted)),
        chips=names,
        table=tuple(_table(outcomes)),
        plots=tuple(_plot(latency, outcomes, known) for latency in LATENCIES),
        plotted="Cost against latency" if _priced(outcomes) else "Chips against latency",
        time=bars([(o.chip.name, _pass(o), seconds_of(o.best)) for o in outcomes], "ms", 1e-3),
        time_words=(
            "Between two tokens of a request in the best layout, with as many under way as the limits allow: "
            "parts of a pass that gives tokens, and passes in between that read others' prompts."
        ),
        memory=bars([(o.chip.name, _memory(o), _held(o)) for o in outcomes], "GiB", GIB),
        memory_words=(
            "Of the fullest chip that gives tokens in the best layout. What is left, engines leave alone."
        ),
        sensitivities=tuple((o.chip.name, tuple(sensitivities(o, known))) for o in outcomes),
        sensitivity_words=(
            "How many chips fewer or more the same requests take within the limits, with the best layout searched "
            "anew each time, or the layout as it is where no other does better; and time between tokens in that "
            "layout, with as many requests under way. A bar that fills its side is half the chips, or half as many "
            "again, and more. Requests at once are tried in steps: what is small may show in the time only."
        ),
        sensitivity_titles=("fewer, or more", "chips", "between tokens"),
        rankings=tuple(_ranking(outcome, top) for outcome in outcomes),
        basis=tuple(_basis(outcome) for outcome in outcomes),
        remarks=tuple(remarks(wanted, outcomes)),
    )


def _lead(outcomes: Sequence[ServingOutcome]) -> str:
    told = []
    for outcome in outcomes:
        chips, rate = outcome.best.deployment.chips, outcome.best.candidate.rate_per_s
        serve = "serves" if chips == 1 else "serve"
        within = "" if outcome.best.meets else ", not all"
        told.append(
            f"{chips:,} {outcome.chip.name} {serve} {figure(rate)} requests a second{within} within the limits"
        )
    return f"{'; '.join(told)}."


def _facts(wanted: Wanted) -> Iterator[tuple[str, str]]:
    model = wanted.model
    yield "parameters", f"{model.parameters / 1e9:,.1f} billion"
    if model.is_mixture:
        yield "of them active", f"{model.active_parameters / 1e9:,.1f} billion"
    yield "prompt", f"{wanted.prompt:,} tokens"
    yield "answer", f"{wanted.answer:,} tokens"
    if wanted.rate_per_s and wanted.chips is None:
        yield "requests", f"{figure(wanted.rate_per_s)} a second"
    yield "first token", f"within {wanted.first_s * 1e3:,.4g} ms"
    yield "then one", f"every {wanted.between_s * 1e3:,.4g} ms"


def _table(outcomes: Sequence[ServingOutcome]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The lines of the terminal; one that belongs to the line above says so."""
    above = ""
    for title, row in lines(outcomes):
        if title.startswith(" "):
            yield f"{above}, {title.strip()}", tuple(row)
        else:
            above = title
            yield title, tuple(row)


def _priced(outcomes: Sequence[ServingOutcome]) -> bool:
    return all(outcome.price for outcome in outcomes)


def _plot(latency: Latency, outcomes: Sequence[ServingOutcome], known: ServingCalibrations) -> Plot:
    """Services within shorter and longer limits; those that no other betters are filled."""
    priced = _priced(outcomes)
    beside = "USD per million tokens" if priced else "chips per 1,000 tokens/s"
    found = [_spots(latency, outcome, known, priced=priced) for outcome in outcomes]
    every = [spot for spots in found for spot in spots]
    series = [
        Series(
            outcome.chip.name,
            tuple(
                Point(*spot, _said(one, spot, beside), not bettered(spot, every))
                for spot, one in sorted(spots.items(), key=lambda item: item[0])
            ),
        )
        for outcome, spots in zip(outcomes, found, strict=True)
    ]
    limit = getattr(outcomes[0].wanted, latency.limit) * 1e3
    names = ", ".join(one.name for one in series)
    words = f"{beside} against {latency.words}: {names}"
    better = "cheaper" if priced else "on fewer chips"
    unpriced = " No price is known for all: --chips-file brings yours."
    return Plot(
        drawing=scatter(words, (latency.words, beside), series, limit),
        caption=(
            f"The best layouts for the limit asked for, for tighter and for looser ones, with what 9 of 10 "
            f"requests stay below; filled: no other is both quicker and {better}."
            + (" Prices are the middle of those asked." if priced else unpriced)
        ),
    )


def _spots(
    latency: Latency, outcome: ServingOutcome, known: ServingCalibrations, *, priced: bool
) -> dict[tuple[float, float], ServingOutcome]:
    """Where each lies; beside what was asked for, those that no other on that chip betters."""
    others = within_other_limits(outcome, latency.limit, latency.of(outcome.best), known)
    found = {(latency.of(one.best) * 1e3, _price(one, priced=priced)): one for one in others}
    return {spot: one for spot, one in found.items() if one is outcome or not bettered(spot, found)}


def _price(one: ServingOutcome, *, priced: bool) -> float:
    cost = one.cost_usd
    if priced and cost:
        return sum(cost) / 2
    return one.best.deployment.chips / one.best.tokens_per_s * THOUSAND


def _said(one: ServingOutcome, spot: tuple[float, float], beside: str) -> str:
    deployment = one.best.deployment
    return (
        f"{deployment.chips:,} {one.chip.name}: {figure(spot[0])} ms, {spot[1]:,.3g} {beside}, "
        f"{deployment.words}"
    )


def _pass(outcome: ServingOutcome) -> str:
    best = outcome.best
    between = f"{figure(best.candidate.settled.between_s * 1e3)} ms between tokens"
    return f"{between}, {figure(best.pass_s * 1e3)} ms a pass"


def _memory(outcome: ServingOutcome) -> str:
    held, size = outcome.best.candidate.holding, outcome.chip.memory_bytes
    return f"{figure(held.requests)} requests at once, {size / GIB:.0f} GiB"


def _held(outcome: ServingOutcome) -> dict[str, float]:
    """What a chip holds, and what is left of it."""
    best, held = outcome.best, outcome.best.candidate.holding
    kept = min(best.under_way / held.groups * held.request_bytes, held.cache)
    found = {
        "weights": held.weights,
        "passes and libraries": held.activations + held.libraries,
        "keys and values": kept,
        "room for more requests": held.cache - kept,
    }
    return found | {"left": max(outcome.chip.memory_bytes - sum(found.values()), 0.0)}


def _ranking(outcome: ServingOutcome, top: int) -> Ranking:
    return Ranking(
        title=f"{outcome.chip.name}: the best of {outcome.tried:,} layouts, {outcome.fit:,} fit",
        columns=(
            *("layout", "chips", "requests/s", "TTFT ms", "TPOT ms", "weights GiB"),
            "why not the first",
        ),
        rows=tuple(
            (*cells(plan), "the best" if plan is outcome.best else why(outcome.best, plan))
            for plan in outcome.plans[: max(top, 2)]
        ),
    )


def _basis(outcome: ServingOutcome) -> Basis:
    between, first = exp(outcome.off), exp(outcome.off_first)
    return Basis(
        chip=outcome.chip.name,
        interval=(
            f"between tokens: from 1/{between:.2f} to {between:.2f} times; "
            f"to the first: from 1/{first:.3g} to {first:.3g} times"
        ),
        judged_by=(
            f"predictions for {basis(outcome.judged_by)}, for versions of "
            "engines that nothing was fitted to"
        ),
        figures=source_text(outcome.chip),
        price=price_text(outcome.price),
    )
