"""What is known of workers, and when one is taken to be gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["outside", "compute", "team", "form", "reduce", "apply"]
"""What a worker is at; team: it waits for others of its replica, in a collective of the program's own; form: it joins
the others of an epoch."""
WAITING: tuple[Phase, ...] = ("team", "form", "reduce")
"""It is in something that all members do together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a worker is taken to be gone, and how many there are to be."""

    shards: int
    workers: int
    """Members when all is well; more than that wait as spares."""
    replica: int = 1
    """So many workers hold the model together, each its own part of it."""
    least: int = 1
    """With fewer members the job waits."""
    silent_s: float = 3.0
    """A worker that says nothing for so long is dead: its process is stopped, or its host or link is gone."""
    hang_s: float = 3.0
    """One that computes on for so long after all others have ended is taken to hang,"""
    hang_times: float = 8.0
    """unless its own steps are that long: so many times the median of its shards is allowed at least."""
    exact: bool = False
    """Whether each member sends as much as it has computed, so that one without shards sends less."""
    moves: bool = True
    """Whether shards move away from a slow worker, and one that is far too slow leaves."""
    deaths_at_step: int = 3
    """A step at which so many workers died in their own code is not tried again."""
    restarts: int = 3
    """So often in a row, with no further step made, a job begins again of which no worker is left."""
    room: int | None = None
    """So many workers can run at present, as hosts have fallen or workers end there; None: as many as are wanted."""

    @property
    def founders(self) -> int:
        """So many a job begins with: all that are wanted, or that there is room for."""
        return self.workers if self.room is None else min(self.workers, self.room)


@dataclass(slots=True)
class Worker:
    """What is known of one."""

    number: int
    heard_s: float
    ready: bool = False
    place: int | None = 0
    """Which part of the model it has; None: it has none yet."""
    host: int = 0
    """On which it runs."""
    step: int = -1
    """The step whose state it has; -1: that of a model just made."""
    caught_up: bool = False
    fed_by: int | None = None
    phase: Phase = "outside"
    phase_s: float = 0.0
    shard_s: float = 0.0
    """How long its shards take, as it says."""
    moved_bytes: int = -1
    """Over its connections to other members; -1: not known."""
    moved_s: float = 0.0
    """When these bytes last became more."""
    ways: int = 1
    """So many addresses it has, over which groups may be formed."""
    way: int = 0
    """The one that is used."""
    avoid: set[int] = field(default_factory=set)
    """Members from which the state did not come."""

    @property
    def still_since_s(self) -> float:
        """Since when it is at the same, and nothing moves."""
        return max(self.phase_s, self.moved_s)

    def turns(self) -> bool:
        """Use another address, if there is one that was not used before."""
        turned = self.way + 1 < self.ways
        self.way += turned
        return turned

    def beats(self, phase: Phase, shard_s: float, moved_bytes: int, now_s: float) -> bool:
        """A sign of life; gives whether it is at something else now."""
        changed, self.shard_s = self.phase != phase, shard_s
        if changed:
            self.phase, self.phase_s = phase, now_s
        if self.moved_bytes != moved_bytes:
            self.moved_bytes, self.moved_s = moved_bytes, now_s
        return changed


@dataclass(frozen=True, slots=True)
class Report:
    """What a member says at the beginning of an epoch."""

    step: int
    """-1: it has no state yet."""
    reduced: bool
    """Whether it holds the whole gradient of that step."""
    held: tuple[int, ...]
    """Shards of that step that it has computed."""
    kept: tuple[int, ...] = ()
    """Earlier steps to which it could go back."""
    apart: int = 0
    """Steps between two exchanges, where it trains by itself."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Those whose state it has, or can have."""
        has = (self.step,) if self.step >= 0 else ()
        return (*has, *((self.step + 1,) if self.reduced else ()), *self.kept)

    def makes(self, step: int) -> bool:
        """Whether it can make the step before this one from what it holds."""
        return self.reduced and self.step == step - 1


def hanging(members: Sequence[Worker], limits: Limits, now_s: float) -> list[Worker]:
    """Members that compute while all others have long been waiting for them."""
    waiting = [worker for worker in members if worker.phase in ("reduce", "team")]
    computing = [worker for worker in members if worker.phase not in WAITING]
    if not waiting or not computing:
        return []
    since_s = max(worker.phase_s for worker in waiting)
    return [worker for worker in computing if _hangs(worker, since_s, limits, now_s)]


def unheard(
    awaited: Sequence[Worker], since_s: float, limits: Limits, now_s: float
) -> list[Worker]:
    """Members that are still at something of the group before, although others began to wait, at `since_s`, to hear of them."""
    busy = [worker for worker in awaited if worker.phase in ("compute", *WAITING)]
    return [worker for worker in busy if _hangs(worker, since_s, limits, now_s)]


def gone(
    workers: Collection[Worker],
    members: Collection[Worker],
    unplanned: tuple[Collection[int], float] | None,
    limits: Limits,
    now_s: float,
) -> list[tuple[Worker, str]]:
    """Those that are taken to be gone, and why. `unplanned`: in an epoch without a plan, who has reported, and when last."""
    silent = [worker for worker in workers if now_s - worker.heard_s > limits.silent_s]
    if silent:
        return [(worker, "says nothing") for worker in silent]
    if unplanned is None:
        hang = hanging(list(members), limits, now_s)
    elif unplanned[0]:
        awaited = [worker for worker in members if worker.number not in unplanned[0]]
        hang = unheard(awaited, unplanned[1], limits, now_s)
    else:
        hang = []
    return [(worker, "hangs in its own code") for worker in hang]


def _hangs(worker: Worker, since_s: float, limits: Limits, now_s: float) -> bool:
    allowed_s = max(limits.hang_s, limits.hang_times * worker.shard_s)
    return now_s - max(since_s, worker.phase_s) > allowed_s
