"""The command `cordee plan goodput`."""

import json
from dataclasses import asdict, replace
from math import inf, nan

import click
from rich.console import Console

from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON, Number
from cordee.hw.accelerator import Accelerator, accelerators
from cordee.plan.compare import usual_batch
from cordee.plan.goodput import report, weak_links
from cordee.plan.goodput.answers import Asked, answer, spares_needed
from cordee.plan.goodput.answers import spares as spares_of
from cordee.plan.goodput.cluster import Cluster, Recovery
from cordee.plan.goodput.from_model import Trained, trained
from cordee.plan.goodput.rates import rates
from cordee.plan.goodput.recoveries import recovery, seconds
from cordee.plan.model import model as read_model

POSITIVE = click.IntRange(min=1)


@click.command()
@click.argument("name", required=False, metavar="[MODEL]")
@click.option("--chips", type=POSITIVE, required=True, help="That train.")
@click.option("--chip", "kind", required=True, help="Kind of chip.")
@click.option("--days", type=Number(min=0.01), default=30.0, show_default=True)
@click.option(
    "--recovery",
    "recoveries",
    multiple=True,
    default=("in-place", "restart"),
    show_default=True,
    help="Such as in-place, restart, process, by-hand, restart:30s; several compare.",
)
@click.option(
    "--spares", help="Nodes that stand by, or a share such as 2%; enough for 99 of 100 moments."
)
@click.option("--checkpoint", default="best", show_default=True, help="How often: best, 30min.")
@click.option("--write", default="5s", show_default=True, help="How long keeping stops training.")
@click.option("--rate", default="typical", show_default=True, help="low, high, a source, or 2e-5.")
@click.option("--repair", default="24h", show_default=True, help="Until a node is back.")
@click.option("--replica", type=POSITIVE, help="Chips of a replica; of MODEL: its best layout.")
@click.option("--step", help="How long a step takes, such as 10s; of MODEL: as planned.")
@click.option("--sequence", default=4096, show_default=True, help="Tokens of a sequence.")
@click.option(
    "--link-gbit-s",
    type=Number(min=0, min_open=True),
    help="Of each replica to the others, where links are weak: what mode local gives back.",
)
@click.option("--seed", default=0, show_default=True, help="Of the failures.")
@AS_JSON
def goodput(  # noqa: PLR0913 - an argument is an option
    name: str | None,
    chips: int,
    kind: str,
    days: float,
    recoveries: tuple[str, ...],
    spares: str | None,
    checkpoint: str,
    write: str,
    rate: str,
    repair: str,
    replica: int | None,
    step: str | None,
    sequence: int,
    link_gbit_s: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Say what failures cost a training run: how much of its time counts, and what would help."""
    chip = accelerators().find(kind)
    layout = _layout(name, chip, chips, sequence)
    cluster = Cluster(
        chips=layout.chips if layout else chips,
        group_chips=replica or (layout.group_chips if layout else min(chips, chip.chips_per_node)),
        node_chips=chip.chips_per_node,
        rates=rates(rate, chip.generation),
        repair_s=seconds(repair, "--repair"),
        step_s=_step_s(step, layout),
        shards=layout.shards if layout else 8,
        stages=layout.stages if layout else 1,
    )
    asked = Asked(
        cluster=_with_spares(cluster, spares),
        recoveries=[_fed(recovery(text), layout) for text in recoveries],
        every_s=None if checkpoint == "best" else seconds(checkpoint, "--checkpoint"),
        write_s=seconds(write, "--write"),
        days=days,
        seed=seed,
    )
    links = _links(cluster, layout, link_gbit_s) if link_gbit_s else None
    _show(asked, layout, links, as_json=as_json)


def _step_s(text: str | None, layout: Trained | None) -> float:
    if text is None:
        return layout.step_s if layout else 10.0
    if not (found := seconds(text, "--step")):
        raise UsageError(f"--step {text}: longer than nothing, such as 10s")
    return found


def _links(cluster: Cluster, layout: Trained | None, gbit_s: float) -> weak_links.Links:
    if layout is None:
        raise UsageError("--link-gbit-s: name the MODEL, which says how much replicas exchange")
    return weak_links.Links(
        replicas=cluster.groups,
        parameters=layout.parameters,
        compute_s=cluster.step_s * (1 - layout.gradients_s / layout.step_s),
        rate_bytes_per_s=gbit_s * 1e9 / 8,
    )


def _layout(name: str | None, chip: Accelerator, chips: int, sequence: int) -> Trained | None:
    if name is None:
        return None
    found = read_model(name)
    return trained(found, chip, chips, sequence, usual_batch(found, sequence))


def _with_spares(cluster: Cluster, text: str | None) -> Cluster:
    """With as many as asked for; else with enough."""
    nodes = spares_needed(cluster)
    if text is not None:
        share = text.endswith("%")
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = nan
        if not 0 <= number < inf:
            raise UsageError(f"--spares {text}: a number of nodes, or a share such as 2%")
        nodes = round(cluster.chips * number / 100 / cluster.node_chips) if share else int(number)
    return replace(cluster, spare_chips=nodes * cluster.node_chips)


def _fed(found: Recovery, layout: Trained | None) -> Recovery:
    return replace(found, feed_s=layout.feed_s) if layout else found


def _show(
    asked: Asked, layout: Trained | None, links: weak_links.Links | None, *, as_json: bool
) -> None:
    answers = [answer(asked, way) for way in asked.recoveries]
    in_place = next((a for a in answers if a.recovery.in_place), None)
    stand_by = spares_of(asked.cluster, in_place.recovery, in_place.checkpoint) if in_place else []
    ways = weak_links.ways(links) if links else []
    if as_json:
        data = report.as_data(asked, answers, stand_by)
        print(json.dumps(data | {"weak_links": [asdict(way) for way in ways]}, indent=2))
        return
    console = Console()
    print("\n".join([*([layout.words] if layout else []), *report.head(asked), ""]))
    console.print(report.recoveries_table(answers))
    print("\n".join(["", *report.worth(asked, answers), ""]))
    if stand_by:
        console.print(report.spares_table(stand_by))
        needed = spares_needed(asked.cluster)
        print(f"with {needed:,} none is missing in 99 of 100 moments; this table is by formula\n")
    if links:
        console.print(report.links_table(links, ways), "")
    print("\n".join(report.remarks(asked, answers)))
    if links:
        print("\n".join(weak_links.remarks(links, asked.cluster.group_chips)))
