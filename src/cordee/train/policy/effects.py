"""What a coordinator is to do: the words in which the policy says it."""

from dataclasses import dataclass

from cordee.train.policy.pace import Late
from cordee.train.policy.standstill import Look
from cordee.train.policy.sums import Total
from cordee.train.policy.teams import Team


@dataclass(frozen=True, slots=True)
class Begin:
    """A new epoch: members stop what they do together, and report."""

    epoch: int
    step: int
    """How far the job is, so that who comes in knows what it must have."""
    members: tuple[int, ...]
    lost: tuple[int, ...]
    """Members of the epoch before that are gone: what waits for them is to be freed."""
    reason: str
    again: bool = False
    """Whether what was reduced for this step is wrong: one of the lost had a part in it."""
    anew: bool = False
    """Whether nobody has a state yet: members take what was kept of an earlier one."""
    stuck: bool = False
    """Whether what members do together is to be freed, although nobody is gone."""
    ways: tuple[int, ...] = ()
    """Of each member which of its addresses is used; none: the first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the epoch goes on, after all its members have reported."""

    epoch: int
    step: int
    sources: tuple[int, ...]
    """Of each place a member that has the state of this step."""
    restore: tuple[int, ...]
    """Members that do not, and cannot make it from what they hold."""
    owners: tuple[int, ...]
    """Of the shards of this step; of a team it is the first member."""
    asks: tuple[tuple[int, int], ...] = ()
    """Members, and a shard that each is to compute although it is another's."""
    redo: bool = False
    """Whether all make the step before again, from a copy, to see whose state is wrong."""
    skipped: bool = False
    """Whether the step before was not applied."""
    columns: tuple[tuple[int, ...], ...] = ()
    """Of each place the members that have it, where members have parts of the model."""
    teams: tuple[Team, ...] = ()
    """Members that hold the model together; none: each has all of it."""
    forget: tuple[int, ...] = ()
    """Members whose shards, as far as they are computed, are of no use."""
    total: Total | None = None
    """Of the step before."""
    back: tuple[int, ...] = ()
    """Members that take this step's state from what was kept of their part."""
    apart: int = 0
    """Steps between two exchanges, where members train by themselves from here on, or do already; 0: they do not."""
    adders: tuple[int, ...] = ()
    """Members that add gradients up; none: all do."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Every member holds the gradient of the step: apply it."""

    epoch: int
    step: int
    skip: bool = False
    """Or leave it: it is not finite."""
    owners: tuple[int, ...] = ()
    """Of the shards of the steps to come; none: as before."""
    late: Late | None = None
    total: Total | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the journal."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Members measure the links between them."""

    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """One that waits gets the state from a member."""

    source: int
    joiner: int


@dataclass(frozen=True, slots=True)
class Copies:
    """Members give what they keep of their part of the model to a worker of another host, too; None: to nobody."""

    pairs: tuple[tuple[int, int | None], ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker is to make this part of the model."""

    worker: int
    place: int


@dataclass(frozen=True, slots=True)
class Evict:
    """A worker that is alive is to leave."""

    worker: int
    reason: str
    guilty: bool = False
    """Whether its chip reckons wrongly or far too slowly, and is not to be used again."""
    link: bool = False
    """Whether its link to others is what failed: its chip is left alone for a while."""


@dataclass(frozen=True, slots=True)
class Restart:
    """All members are gone: others are to be started, and the job begins again."""

    reason: str
    count: int
    """How often in a row."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The job is over."""

    error: str | None = None


Effect = (
    Begin | Plan | Commit | Note | Probe | Look | Feed | Copies | Seat | Evict | Restart | Finish
)
