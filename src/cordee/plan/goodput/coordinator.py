"""The coordinator of `cordee train`, told of a simulated cluster: the decisions are those of its real policy.

A member is a replica. What the policy decides depends on how many are missing, not on how many there are; so of a
large job so many replicas stand for all, and as many are missing of them as of all.
"""

from collections import defaultdict
from collections.abc import Iterable
from math import ceil, sqrt

from cordee.plan.goodput.cluster import Cluster
from cordee.train.policy.effects import Effect
from cordee.train.policy.membership import Membership
from cordee.train.policy.workers import Limits, Report

STAND_FOR_ALL = 16
"""So many are there even when most are missing that ever will be."""
DEVIATIONS = 6
COMING_S = 600.0
"""A replica that is started and fed is missing for less."""
SHARDS_MOST = 128
TICK_S = 0.05
"""How often the coordinator looks for those that are silent."""


class Coordinator:
    """A `Membership` with what its workers would say."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.size = min(cluster.groups, STAND_FOR_ALL + _missing_at_most(cluster))
        self.shards = max(1, min(cluster.shards, SHARDS_MOST // self.size))
        self.limits = Limits(
            shards=self.size * self.shards,
            workers=self.size,
            least=max(1, cluster.least_groups - (cluster.groups - self.size)),
            moves=False,
        )
        self.membership = Membership(self.limits)
        self.dead: set[int] = set()
        """Members that nobody has noticed to be gone."""
        self._last = -1

    # Who there is.

    @property
    def groups(self) -> int:
        """Members of the whole job."""
        return self.cluster.groups - self.size + len(self.membership.members)

    @property
    def waiting(self) -> list[int]:
        """Workers that are ready and not members."""
        members = set(self.membership.members)
        return [number for number in self.membership.workers if number not in members]

    # What happens to it.

    def arrive(self, step: int, now_s: float) -> list[Effect]:
        """A worker on chips that were idle is ready."""
        self._last += 1
        number = self._last
        self.membership.joined(number, now_s)
        self.membership.workers[number].step = step
        return self.membership.ready(number, now_s)

    def shuts(self, numbers: Iterable[int], now_s: float) -> list[Effect]:
        """Connections of workers close: their processes have died."""
        effects: list[Effect] = []
        for number in numbers:
            self.dead.discard(number)
            effects += self.membership.closed(number, now_s, f"worker {number} died")
        return effects

    def falls_silent(self, numbers: Iterable[int], now_s: float) -> None:
        """They say nothing any more."""
        for number in numbers:
            self.membership.beat(number, "compute", self.cluster.shard_s, now_s)
            self.dead.add(number)

    def hangs(self, number: int, now_s: float) -> float:
        """One hangs in its own code, and all others wait for it. In how many seconds that is noticed."""
        self.dead.add(number)
        shard_s = self.cluster.shard_s
        for other in self.membership.members:
            if other not in self.dead:
                self.membership.beat(other, "reduce", 0.0, now_s)
        self.membership.beat(number, "compute", shard_s, now_s)
        self.membership.progressed(number, now_s)
        return max(self.limits.hang_s, self.limits.hang_times * shard_s)

    def looks(self, hanging: Iterable[int], now_s: float) -> list[Effect]:
        """It looks for those that are gone; of those that hang signs of life still come."""
        for number, worker in self.membership.workers.items():
            if number not in self.dead or number in hanging:
                self.membership.beat(number, worker.phase, worker.shard_s, now_s)
        effects = self.membership.tick(now_s)
        self.dead &= self.membership.workers.keys()
        return effects

    def report(self, step: int, now_s: float, *, under_way: bool) -> list[Effect]:
        """All members that live say how far they are, and what they have of a step that is under way."""
        held: dict[int, list[int]] = defaultdict(list)
        for shard, owner in enumerate(self.membership.owners if under_way else ()):
            held[owner].append(shard)
        effects: list[Effect] = []
        for number in self.membership.members:
            if number not in self.dead:
                report = Report(step, reduced=False, held=tuple(held[number]))
                effects += self.membership.reported(number, self.membership.epoch, report, now_s)
        return effects

    def commit(self, step: int, now_s: float) -> list[Effect]:
        """All members hold the gradient of a step."""
        self.membership.step = step
        effects: list[Effect] = []
        for number in self.membership.members:
            effects += self.membership.done(number, self.membership.epoch, step, now_s)
        return effects

    def caught_up(self, number: int, step: int, now_s: float) -> list[Effect]:
        """One that was fed has the state."""
        return self.membership.caught_up(number, step, now_s)


def _missing_at_most(cluster: Cluster) -> int:
    """Replicas that could be missing at once: of nodes in repair a Poisson number, less spares, and who is coming in."""
    most = cluster.broken_nodes + DEVIATIONS * sqrt(cluster.broken_nodes)
    broken = max(0.0, most * cluster.node_chips - cluster.spare_chips) / cluster.group_chips
    coming = cluster.failures_per_s * COMING_S
    together = -(-cluster.node_chips // cluster.group_chips)
    return ceil(broken + coming + DEVIATIONS * sqrt(coming)) + 4 * together
