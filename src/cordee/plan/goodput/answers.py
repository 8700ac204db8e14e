"""What a reader asks: what each way to recover yields, how often to keep the state, how many spares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cordee.plan.goodput import closed_form
from cordee.plan.goodput.cluster import Checkpoint, Cluster, Outcome, Recovery, Scenario
from cordee.plan.goodput.in_place import InPlace
from cordee.plan.goodput.restarting import Restarting

SURE = 0.99
"""How likely no replica is to be missing for want of a spare."""
IN_PLACE_EVERY_S = 3600.0
"""A job that goes on in place needs a kept state only when all of it is gone."""


def simulate(scenario: Scenario) -> Outcome:
    """Run it."""
    kind = InPlace if scenario.recovery.in_place else Restarting
    return kind(scenario).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A cluster, and what is to be compared on it."""

    cluster: Cluster
    recoveries: Sequence[Recovery]
    every_s: float | None
    """None: the best for each."""
    write_s: float
    days: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one way to recover yields."""

    recovery: Recovery
    checkpoint: Checkpoint
    outcome: Outcome
    formula: float
    """The same in closed form."""

    @property
    def formula_holds(self) -> bool:
        """Whether the formula covers what happens: it knows nothing of waiting for chips."""
        waited_s = self.outcome.spent_s["waiting for chips"]
        return waited_s < 0.001 * self.outcome.days * 86400


def answer(asked: Asked, recovery: Recovery) -> Answer:
    """Simulate one way, with the best interval where none is given."""
    cluster = asked.cluster
    if not recovery.in_place:  # what others do: all replicas, or none
        cluster = replace(cluster, least_groups=cluster.groups)
    checkpoint = Checkpoint(every_s=_every_s(asked, recovery), write_s=asked.write_s)
    scenario = Scenario(
        cluster=cluster,
        recovery=recovery,
        checkpoint=checkpoint,
        days=asked.days,
        seed=asked.seed,
    )
    return Answer(
        recovery=recovery,
        checkpoint=checkpoint,
        outcome=simulate(scenario),
        formula=formula(cluster, recovery, checkpoint),
    )


def _every_s(asked: Asked, recovery: Recovery) -> float:
    if asked.every_s is not None:
        return max(asked.every_s, asked.cluster.step_s)
    between_s = closed_form.between_s(asked.cluster)
    best_s = closed_form.best_interval_s(asked.write_s, between_s)
    if recovery.in_place:
        best_s = max(best_s, IN_PLACE_EVERY_S)
    step_s = asked.cluster.step_s
    return max(1, round(best_s / step_s)) * step_s


def formula(cluster: Cluster, recovery: Recovery, checkpoint: Checkpoint) -> float:
    """The part of the time that counts, in closed form."""
    if recovery.in_place:
        return closed_form.in_place(cluster, recovery, checkpoint)
    return closed_form.restarted(checkpoint, recovery.down_s, closed_form.between_s(cluster))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spares:
    """How many nodes stand by, and what that is good for."""

    nodes: int
    missing_nodes: float
    """That are wanted and not there, on average."""
    goodput: float
    """In closed form, going on in place."""
    per_chip: float
    """The same as a part of what all chips, with those that stand by, could do."""


def spares(cluster: Cluster, recovery: Recovery, checkpoint: Checkpoint) -> list[Spares]:
    """From none to enough that in 99.9 of 100 moments none is missing."""
    nodes = {0, *(closed_form.spares_for(cluster.broken_nodes, s) for s in (0.5, 0.9, SURE, 0.999))}
    return [_spares(cluster, recovery, checkpoint, number) for number in sorted(nodes)]


def _spares(cluster: Cluster, recovery: Recovery, checkpoint: Checkpoint, nodes: int) -> Spares:
    own = replace(cluster, spare_chips=nodes * cluster.node_chips)
    found = closed_form.in_place(own, recovery, checkpoint)
    return Spares(
        nodes=nodes,
        missing_nodes=closed_form.missing(own.broken_nodes, nodes),
        goodput=found,
        per_chip=found * own.chips / own.all_chips,
    )


def spares_needed(cluster: Cluster) -> int:
    """Nodes that must stand by so that in 99 of 100 moments no replica is missing."""
    return closed_form.spares_for(cluster.broken_nodes, SURE)
