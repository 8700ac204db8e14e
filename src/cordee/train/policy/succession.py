"""How another coordinator goes on: what it must know of a job, and for whom it waits before it begins.

How far members are they say themselves, so that nothing has to be agreed upon before a step is committed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from cordee.train.policy.keepers import Keepers, homes
from cordee.train.policy.membership import Membership
from cordee.train.policy.pace import Pace
from cordee.train.policy.setbacks import Setbacks
from cordee.train.policy.sums import Total
from cordee.train.policy.teams import Team
from cordee.train.policy.trust import Checks, Trust
from cordee.train.policy.workers import Limits

EPOCHS = 10_000
"""Each coordinator numbers its epochs from so many times its term on: none is used twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a job: its agents have a copy."""

    term: int = 0
    """How many coordinators it has had before."""
    epoch: int = 0
    step: int = 0
    members: tuple[int, ...] = ()
    shards: int = 0
    replica: int = 1
    models: tuple[tuple[int, str], ...] = ()
    """Of each place a digest of the names and shapes of its parameters."""
    seats: tuple[tuple[int, int], ...] = ()
    """Workers and their places, where a model is held by several."""
    teams: tuple[Team, ...] = ()
    skipped: int = -1
    """The last step that was left out."""
    anew: bool = True
    deaths: tuple[tuple[int, int], ...] = ()
    """Steps, and how many workers failed there by themselves."""
    restarts: int = 0
    farthest: int = -1
    placed: tuple[tuple[int, int], ...] = ()
    """Workers that were started, and the hosts on which they run."""
    following: int = 0
    """The number of the next worker."""
    over: bool = False
    error: str | None = None

    @property
    def newness(self) -> tuple[int, int, int, int, bool]:
        """What is known later is not smaller."""
        return self.term, self.epoch, self.step, self.following, self.over


def known(job: Membership, term: int, models: Mapping[int, str], error: str | None) -> Known:
    """What is known of a job now, but for its workers' hosts."""
    held = job.limits.replica > 1
    seats = sorted((w.number, w.place) for w in job.workers.values() if w.place is not None)
    return Known(
        term=term,
        epoch=job.epoch,
        step=job.step,
        members=job.members,
        shards=job.limits.shards,
        replica=job.limits.replica,
        models=tuple(sorted(models.items())),
        seats=tuple(seats) if held else (),
        teams=job.teams,
        skipped=job._skipped,
        anew=job._anew,
        deaths=tuple(sorted(job.setbacks.deaths.items())),
        restarts=job.setbacks.restarts,
        farthest=job.setbacks.farthest,
        over=job.over,
        error=error,
    )


def recalled(limits: Limits, checks: Checks, before: Known) -> Membership:
    """The job as it was known."""
    return Membership(
        replace(limits, shards=before.shards or limits.shards, replica=before.replica),
        epoch=before.epoch,
        step=before.step,
        members=before.members,
        teams=before.teams,
        over=before.over,
        trust=Trust(checks),
        pace=Pace(limits.moves),
        setbacks=Setbacks(dict(before.deaths), before.restarts, before.farthest),
        keepers=Keepers(_homes(before)),
        _skipped=before.skipped,
        _anew=before.anew,
    )


def _homes(before: Known) -> dict[int, set[int]]:
    """Of each place the hosts in whose memory it is: what was decided before follows from who was there."""
    places, hosts = dict(before.seats), dict(before.placed)
    there = [number for number in before.members if number in places and number in hosts]
    columns = [[n for n in there if places[n] == place] for place in range(before.replica)]
    return homes(columns, hosts) if there else {}


class Comer(Protocol):
    """What a worker says that comes."""

    @property
    def worker(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def made(self) -> int: ...
    @property
    def total(self) -> Total | None: ...


@dataclass(slots=True)
class Return:
    """Members that come back to a new coordinator, and those for whom it need not wait."""

    members: tuple[int, ...]
    hosts: Mapping[int, int]
    """Where each worker was started."""
    until_s: float
    """So long it waits."""
    known_epoch: int
    """The newest that is known of."""
    seated: frozenset[int] = frozenset()
    """Workers that have a place in a replica: nobody else is given it before they could come."""
    back: set[int] = field(default_factory=set)
    """Members that came."""
    there: set[int] = field(default_factory=set)
    """Others that came."""
    gone: set[int] = field(default_factory=set)
    epoch: int = 0
    """The newest of which one of them has heard."""
    skipped: int = -1
    made: int = -1
    """The last step of whose commit one of them has heard."""
    total: Total | None = None

    @property
    def awaited(self) -> set[int]:
        return {*self.members, *self.seated}

    def living(self, hosts: Iterable[int]) -> None:
        """All hosts but these are gone, with their workers."""
        there = set(hosts)
        self.gone |= {worker for worker in self.awaited if self.hosts.get(worker) not in there}

    def present(self, host: int, workers: Iterable[int]) -> None:
        """A host runs these workers."""
        runs = set(workers)
        own = {worker for worker in self.awaited if self.hosts.get(worker) == host}
        self.gone |= own - runs

    def came(self, comer: Comer) -> bool:
        """A worker is there; gives whether it is one of the members."""
        worker, epoch = comer.worker, comer.epoch
        if epoch > self.known_epoch and worker not in self.members:
            self.members = (*self.members, worker)  # it came in later than is known
        if worker not in self.members or not epoch:
            self.there.add(worker)
            return False
        self.back.add(worker)
        self.epoch, self.skipped = max(self.epoch, epoch), max(self.skipped, comer.skipped)
        if comer.made > self.made:
            self.made, self.total = comer.made, comer.total
        return True

    def ended(self, worker: int) -> None:
        """A worker is gone after all."""
        self.back.discard(worker)
        self.there.discard(worker)
        self.gone.add(worker)

    def over(self, now_s: float) -> bool:
        """Whether nobody else is to be waited for."""
        return now_s >= self.until_s or self.awaited <= self.back | self.there | self.gone
