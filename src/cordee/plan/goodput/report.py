"""What failures cost, on a terminal and to a machine."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from cordee.core.tables import side_by_side, table
from cordee.plan.goodput import closed_form
from cordee.plan.goodput.answers import Answer, Asked, Spares
from cordee.plan.goodput.cluster import DAY_S, HOUR_S
from cordee.plan.goodput.weak_links import Links, Way


def span(seconds: float) -> str:
    """A time as people say it."""
    for unit, size in (("d", DAY_S), ("h", HOUR_S), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def head(asked: Asked) -> Iterator[str]:
    """What is looked at."""
    cluster = asked.cluster
    replicas = "replica" if cluster.groups == 1 else "replicas"
    yield (
        f"{cluster.chips:,} chips in {cluster.groups:,} {replicas} of {cluster.group_chips:,}, "
        f"{cluster.spare_chips:,} stand by; a step takes {cluster.step_s:.3g} s"
    )
    parts = ", ".join(f"{name} {rate:.1e}" for name, rate in cluster.rates.by_part.items())
    yield f"failures of a chip in an hour: {cluster.rates.total:.2e} ({parts})"
    yield f"  {cluster.rates.words}"
    yield (
        f"one strikes the {cluster.chips:,} every {span(closed_form.between_s(cluster))}; "
        f"{cluster.broken_nodes:.1f} nodes are in repair on average, {span(cluster.repair_s)} each"
    )


def recoveries_table(answers: Sequence[Answer]) -> Table:
    """A column for each way to recover."""
    return side_by_side((one.recovery.name for one in answers), _lines(answers))


def _lines(answers: Sequence[Answer]) -> Iterator[tuple[str, list[str]]]:
    yield "from a failure on", [f"{span(a.recovery.down_s)}" for a in answers]
    yield "the state is kept every", [span(a.checkpoint.every_s) for a in answers]
    yield "time that counts", [f"{a.outcome.goodput:.2%}" for a in answers]
    yield (
        "  by formula",
        [f"{a.formula:.2%}" if a.formula_holds else "does not hold" for a in answers],
    )
    names = [name for name in answers[0].outcome.spent_s if name != "training"]
    for name in names:
        shares = [a.outcome.spent_s[name] / (a.outcome.days * DAY_S) for a in answers]
        yield f"  {name}", [f"{share:.2%}" for share in shares]
    yield "stops", [f"{a.outcome.stops:,}" for a in answers]
    yield "longest stop", [span(a.outcome.longest_stop_s) for a in answers]
    if any(a.outcome.ended for a in answers):
        yield "started by hand", [f"{a.outcome.ended:,}" for a in answers]


def worth(asked: Asked, answers: Sequence[Answer]) -> Iterator[str]:
    """What the best way is worth beside each other one."""
    best = max(answers, key=lambda a: a.outcome.goodput)
    for other in answers:
        gained = best.outcome.goodput - other.outcome.goodput
        if other is best or gained <= 0:
            continue
        days = gained * asked.days
        chips = asked.cluster.chips * (best.outcome.goodput / max(other.outcome.goodput, 1e-9) - 1)
        yield (
            f"{best.recovery.name} instead of {other.recovery.name} is worth {days:.1f} of {asked.days:g} days, "
            f"or {chips:,.0f} more chips"
        )


def spares_table(found: Sequence[Spares]) -> Table:
    """How many nodes stand by, going on in place."""
    shown = table((), ("nodes that stand by", "missing", "time that counts", "of all chips"))
    for one in found:
        shown.add_row(
            f"{one.nodes:,}",
            f"{one.missing_nodes:.2f}",
            f"{one.goodput:.2%}",
            f"{one.per_chip:.2%}",
        )
    return shown


def links_table(links: Links, found: Sequence[Way]) -> Table:
    """A column for the links of the plan, and one for each way with weak ones."""
    gbit = links.rate_bytes_per_s * 8 / 1e9
    title = f"links of {gbit:g} Gbit/s for each of {links.replicas:,} replicas"
    sent = "GB that a replica sends for a step"
    lines = (
        ("a step takes", [span(way.step_s) for way in found]),
        ("of the speed were nothing sent", [f"{links.compute_s / w.step_s:.2%}" for w in found]),
        (sent, [f"{w.sent_bytes / 1e9:,.3g}" for w in found]),
        ("steps between exchanges of all", [f"{w.steps_between:,}" for w in found]),
        ("link in use", [f"{w.busy:.0%}" for w in found]),
    )
    return side_by_side((way.name for way in found), lines, title)


def remarks(asked: Asked, answers: Sequence[Answer]) -> Iterator[str]:
    """What a reader must know before a figure is relied on."""
    yield from asked.cluster.rates.remarks
    if any(a.recovery.in_place for a in answers):
        yield (
            "in-place runs the policy of cordee train, a member for each replica; how long it takes to agree, to start "
            "and to feed is modelled"
        )
        if asked.cluster.groups == 1:
            yield "one replica: there is no other to go on, so in-place begins again, too"
    if any(not a.recovery.in_place for a in answers):
        yield "restarts are modelled: any failure stops all, which wait until all chips are there"


def as_data(asked: Asked, answers: Sequence[Answer], found: Sequence[Spares]) -> dict[str, Any]:
    """The same for a machine."""
    cluster = asked.cluster
    return {
        "cluster": asdict(cluster) | {"groups": cluster.groups},
        "between_failures_s": closed_form.between_s(cluster),
        "nodes_in_repair": cluster.broken_nodes,
        "answers": [
            {
                "recovery": asdict(a.recovery),
                "checkpoint": asdict(a.checkpoint),
                "goodput": a.outcome.goodput,
                "goodput_by_formula": a.formula,
                "formula_holds": a.formula_holds,
                "outcome": asdict(a.outcome),
            }
            for a in answers
        ],
        "spares": [asdict(one) for one in found],
        "remarks": list(remarks(asked, answers)),
    }
