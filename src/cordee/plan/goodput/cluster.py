"""What is simulated: a cluster, how it recovers, and how often it keeps its state."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cordee.core.errors import UsageError
from cordee.plan.goodput.rates import Rates
from cordee.train.policy.shards import even

DAY_S = 86400.0
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Chips that train together, with those that stand by."""

    chips: int
    """That train, when all is well."""
    group_chips: int
    """Of one replica of the model: all of it stops when one of them does."""
    node_chips: int = 8
    """That are taken out together for a repair."""
    spare_chips: int = 0
    rates: Rates
    repair_s: float = DAY_S
    """Mean time until a node is back."""
    step_s: float = 10.0
    shards: int = 8
    """Parts of the batch that a replica computes in a step, one after another."""
    stages: int = 1
    """Of the pipeline of a replica: a step is that many shards longer, less one."""
    least_groups: int = 1
    """With fewer replicas the job waits."""

    def __post_init__(self) -> None:
        if self.chips < 1 or self.group_chips < 1 or self.chips % self.group_chips:
            raise UsageError(
                f"{self.chips} chips are no whole number of replicas of {self.group_chips} chips: "
                f"{max(1, self.chips // self.group_chips) * self.group_chips} would be"
            )
        if self.spare_chips < 0 or not 1 <= self.least_groups <= self.groups:
            raise UsageError(f"spares 0 or more, replicas that must be there 1 to {self.groups}")

    @property
    def groups(self) -> int:
        return self.chips // self.group_chips

    @property
    def all_chips(self) -> int:
        return self.chips + self.spare_chips

    @property
    def shard_s(self) -> float:
        """How long a shard takes a replica."""
        return self.step_s / (self.shards + self.stages - 1)

    def pace(self, groups: int) -> float:
        """The speed with so many replicas, as a part of the speed with all."""
        most = _most(self.groups * self.shards, groups)
        return (self.shards + self.stages - 1) / (most + self.stages - 1)

    @property
    def failures_per_s(self) -> float:
        """Of the chips that train."""
        return self.rates.total * self.chips / HOUR_S

    @property
    def broken_nodes(self) -> float:
        """How many nodes are being repaired on average, were all others always in use."""
        return self.rates.hardware * self.all_chips / HOUR_S * self.repair_s


@cache
def _most(shards: int, groups: int) -> int:
    """How many shards a replica has at most, as the policy of `cordee train` gives them out."""
    if not groups:
        return shards
    return max(Counter(even(shards, range(groups))).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What happens after a failure, and how long it takes."""

    name: str
    in_place: bool
    """Whether the others go on where they were, as with `cordee train`. Else all begin again from a checkpoint."""
    notice_s: float
    """Until it is known that something failed."""
    resume_s: float
    """From then on until training goes on: agree and join anew, or stop, start, join and load."""
    start_s: float = 300.0
    """What a process needs to be ready on a node that was idle."""
    feed_s: float = 60.0
    """How long a replica that comes in is given the state, beside training."""

    @property
    def down_s(self) -> float:
        return self.notice_s + self.resume_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How often the state is kept, and how long that stops the training."""

    every_s: float
    write_s: float

    @property
    def share(self) -> float:
        """The part of the time that it takes."""
        return self.write_s / (self.every_s + self.write_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run."""

    cluster: Cluster
    recovery: Recovery
    checkpoint: Checkpoint
    days: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run."""

    days: float
    spent_s: Mapping[str, float]
    """Seconds by what they went into; "training" is what counts."""
    failures: Mapping[str, int]
    """By part; those of chips that stood by too."""
    stops: int
    """How often training stopped for one."""
    longest_stop_s: float
    epochs: int = 0
    """How often the policy of `cordee train` changed who is a member."""
    ended: int = 0
    """How often it gave the job up, so that a person had to start it."""

    @property
    def goodput(self) -> float:
        """The part of the time that went into training that counts."""
        return self.spent_s["training"] / (self.days * DAY_S)
