"""What failures do to a service, on a terminal and to a machine."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from rich.console import Console
from rich.table import Table

from cordee.core.tables import side_by_side
from cordee.plan.goodput.cluster import DAY_S
from cordee.plan.goodput.report import span
from cordee.plan.goodput.service import closed_form
from cordee.plan.goodput.service.service import Service, ServiceOutcome
from cordee.plan.goodput.service.year import Year

DAYS = 365.0
FALLS = 300
"""So many failures at least are simulated, in years like one another."""
YEARS_MOST = 1000
AVAILABLE = (0.99, 0.999, 0.9999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Years of a service on one kind of chip."""

    name: str
    service: Service
    outcome: ServiceOutcome


def answer(name: str, service: Service) -> Answer:
    """Simulate it."""
    a_year = service.falls_per_s * DAYS * DAY_S
    years = min(YEARS_MOST, max(1, ceil(FALLS / a_year))) if a_year else 1
    return Answer(name=name, service=service, outcome=Year(service).run(years * DAYS))


def shown(answers: Sequence[Answer]) -> Iterator[str]:
    """On the terminal; gives what is to be remarked."""
    Console().print("", table(answers), sep="\n")
    yield from remarks(answers)


def table(answers: Sequence[Answer]) -> Table:
    """A column for each kind of chip."""
    title = "failures, with the decisions of the gateway of cordee serve"
    return side_by_side((one.name for one in answers), _lines(answers), title)


def _lines(answers: Sequence[Answer]) -> Iterator[tuple[str, list[str]]]:
    yield "failures of a chip, an hour", [f"{a.service.rates.total:.2e}" for a in answers]
    yield "copies", [f"{a.service.replicas:,}" for a in answers]
    yield "  needed for what comes", [f"{a.service.wanted:,.1f}" for a in answers]
    yield "failures a year", [f"{a.outcome.failures * DAYS / a.outcome.days:,.3g}" for a in answers]
    yield "of a million requests move", [_millionth(a.outcome.gaps, a) for a in answers]
    yield "  by formula", [f"{1e6 * closed_form.gaps(a.service):,.3g}" for a in answers]
    yield "  nothing comes for", [_gap(a.outcome) for a in answers]
    yield "  are broken off", [_millionth(a.outcome.broken_off, a) for a in answers]
    yield "  are refused", [_millionth(a.outcome.refused, a) for a in answers]
    yield "    by formula", [f"{1e6 * closed_form.refused(a.service):,.3g}" for a in answers]
    yield "answered whole", [f"{a.outcome.availability:.5%}" for a in answers]
    yield "a year with fewer than needed", [_short(a.outcome) for a in answers]
    for part in AVAILABLE:
        yield f"copies for {part:.4g}", [_copies(a.service, part) for a in answers]


def _millionth(count: float, one: Answer) -> str:
    return f"{1e6 * count / one.outcome.requests:,.3g}"


def _gap(outcome: ServiceOutcome) -> str:
    if not outcome.gaps_s:
        return "-"
    return f"{span(outcome.gap_s(0.5))}; 9 of 10 below {span(outcome.gap_s(0.9))}"


def _short(outcome: ServiceOutcome) -> str:
    return span(outcome.short_s * DAYS / outcome.days)


def _copies(service: Service, part: float) -> str:
    found = closed_form.replicas_for(service, part)
    return "no number does" if found is None else f"{found:,}"


def remarks(answers: Sequence[Answer]) -> Iterator[str]:
    """What a reader must know before a figure is relied on."""
    for one in answers:
        yield f"{one.name}: {one.service.rates.words}"
        yield from (f"{one.name}: {remark}" for remark in one.service.rates.remarks)
    yield (
        f"a node is back after {span(answers[0].service.repair_s)}, a process after "
        f"{span(answers[0].service.start_s)}; copies do not slow down as they fill, and fall one by one or with their node"
    )
    if any(not one.service.own_engine for one in answers):
        yield (
            "an engine of others that hangs and still answers probes is not seen by the gateway: its requests end at "
            "the time limit"
        )


def as_data(one: Answer) -> dict[str, Any]:
    """The same for a machine."""
    outcome, service = one.outcome, one.service
    told = {key: value for key, value in asdict(outcome).items() if key != "gaps_s"}
    return told | {
        "per_s": outcome.failures / (outcome.days * DAY_S),
        "availability": outcome.availability,
        "gap_s": {name: outcome.gap_s(part) for name, part in (("p50", 0.5), ("p90", 0.9))},
        "moved_part_by_formula": closed_form.gaps(service),
        "refused_part_by_formula": closed_form.refused(service),
        "copies_needed": service.wanted,
        "copies_for": {str(part): closed_form.replicas_for(service, part) for part in AVAILABLE},
    }
