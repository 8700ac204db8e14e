"""Who takes part in a job: what the coordinator makes of what it hears.

Workers join, fall silent, hang and come back; a step is committed when every member holds its gradient. Each change
of members begins an epoch. Everything that comes in is a method that gives what is to be done; nothing is done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cordee.train.policy.effects import (
    Begin,
    Commit,
    Effect,
    Evict,
    Feed,
    Finish,
    Note,
    Plan,
    Probe,
    Restart,
)
from cordee.train.policy.links import Links
from cordee.train.policy.pace import Move, Pace, TooSlow
from cordee.train.policy.shards import assign
from cordee.train.policy.trust import Agreed, Ask, Guilty, Stop, Trust, Vote

Phase = Literal["outside", "compute", "reduce", "apply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a worker is taken to be gone, and how many there are to be."""

    shards: int
    workers: int
    """Members when all is well; more than that wait as spares."""
    least: int = 1
    """With fewer members the job waits."""
    silent_s: float = 3.0
    """A worker that says nothing for so long is dead: its process is stopped, or its host or link is gone."""
    hang_s: float = 3.0
    """One that computes on for so long after all others have ended is taken to hang,"""
    hang_times: float = 8.0
    """unless its own steps are that long: so many times the median of its shards is allowed at least."""
    moves: bool = True
    """Whether shards move away from a slow worker, and one that is far too slow leaves."""
    deaths_at_step: int = 3
    """A step at which so many workers died in their own code is not tried again."""
    restarts: int = 3
    """So often in a row, with no further step made, a job begins again of which no worker is left."""


@dataclass(slots=True)
class Worker:
    """What is known of one."""

    number: int
    heard_s: float
    ready: bool = False
    step: int = -1
    """The step whose state it has; -1: that of a model just made."""
    caught_up: bool = False
    fed_by: int | None = None
    phase: Phase = "outside"
    phase_s: float = 0.0
    shard_s: float = 0.0
    """How long its shards take, as it says."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a member says at the beginning of an epoch."""

    step: int
    reduced: bool
    """Whether it holds the whole gradient of that step."""
    held: tuple[int, ...]
    """Shards of that step that it has computed."""


@dataclass(slots=True)
class Membership:
    """The state of a job: small enough to be told anew by the workers themselves."""

    limits: Limits
    epoch: int = 0
    step: int = 0
    members: tuple[int, ...] = ()
    workers: dict[int, Worker] = field(default_factory=dict)
    over: bool = False
    trust: Trust = field(default_factory=Trust)
    pace: Pace = field(default_factory=Pace)
    links: Links = field(default_factory=Links)
    owners: tuple[int, ...] = ()
    """Of the shards, as last told."""
    _asked: Ask | None = None
    _skipped: int = -1
    _again: int = -1
    """A step in whose reduction someone who was found guilty had a part."""
    _reports: dict[int, Report] = field(default_factory=dict)
    _planned: bool = False
    _done: dict[int, Vote] = field(default_factory=dict)
    _finished: set[int] = field(default_factory=set)
    _deaths: dict[int, int] = field(default_factory=dict)
    _anew: bool = True
    _restarts: int = 0
    _farthest: int = -1
    """The step at which all members were gone."""

    # What comes in.

    def joined(self, number: int, now_s: float) -> list[Effect]:
        """A worker has begun; it is not ready yet."""
        self.workers[number] = Worker(number, now_s)
        return []

    def ready(self, number: int, now_s: float) -> list[Effect]:
        """A worker has its model and waits to be let in."""
        worker = self._heard(number, now_s)
        if worker is None or self.over:
            return []
        worker.ready = True
        return self._feed() if self.members else self._gather()

    def beat(self, number: int, phase: Phase, shard_s: float, now_s: float) -> list[Effect]:
        """A sign of life, with what the worker is at."""
        worker = self._heard(number, now_s)
        if worker is not None:
            if worker.phase != phase:
                worker.phase, worker.phase_s = phase, now_s
                if phase == "reduce" and number in self.members and self._planned:
                    self.pace.arrived(number, shard_s, now_s)
            worker.shard_s = shard_s
        return []

    def progressed(self, number: int, now_s: float) -> list[Effect]:
        """A worker has begun with another shard."""
        worker = self._heard(number, now_s)
        if worker is not None:
            worker.phase_s = now_s
        return []

    def reported(self, number: int, epoch: int, report: Report, now_s: float) -> list[Effect]:
        """A member says how far it is."""
        self._heard(number, now_s)
        if epoch != self.epoch or number not in self.members or self._planned:
            return []
        self._reports[number] = report
        if len(self._reports) < len(self.members) or len(self.members) < self.limits.least:
            return []
        self._planned, self._anew = True, False
        for member in self.members:  # whatever they were at before
            if member in self.workers:
                self.workers[member].phase, self.workers[member].phase_s = "compute", now_s
        return [self._plan()]

    def done(
        self, number: int, epoch: int, step: int, now_s: float, vote: Vote | None = None
    ) -> list[Effect]:
        """A member holds the gradient of the step."""
        self._heard(number, now_s)
        if epoch != self.epoch or step != self.step or number not in self.members:
            return []
        self._done[number] = vote or Vote()
        if len(self._done) < len(self.members):
            return []
        verdict = self.trust.verdict(step, self._done)
        self._done.clear()
        match verdict:
            case Agreed():
                return self._commit(verdict, now_s)
            case Guilty():
                self._again = step
                return self._evict(verdict)
            case Ask():
                self._asked = verdict
                note = Note("doubt", verdict.reason)
                return [note, *self._begin(self.members, (), f"{verdict.reason}: it is looked at")]
            case Stop():
                self.over = True
                return [Finish(verdict.error)]

    def caught_up(self, number: int, step: int, now_s: float) -> list[Effect]:
        """A worker that was fed has the state of a step, and hears of all that follow."""
        worker = self._heard(number, now_s)
        if worker is not None:
            worker.caught_up, worker.step = True, step
        waits = 0 < len(self.members) < self.limits.least  # no step will end until someone comes
        return self._enter() if waits else []

    def probed(self, number: int, other: int, bytes_per_s: float) -> list[Effect]:
        """A member has measured its link to another one."""
        found = self.links.probed((min(number, other), max(number, other)), bytes_per_s)
        return [Note("link", found)] if found else []

    def finished(self, number: int, now_s: float) -> list[Effect]:
        """A member has made all steps that its program wants."""
        self._heard(number, now_s)
        self._finished.add(number)
        if self.over or not set(self.members) <= self._finished:
            return []
        self.over = True
        return [Finish()]

    def closed(self, number: int, now_s: float, reason: str) -> list[Effect]:
        """A worker is gone."""
        worker = self.workers.pop(number, None)
        if worker is None or self.over:
            return []
        if number in self._finished and self._finished & set(self.members) == set(self.members):
            return []
        return self._without([number], reason)

    def crashed(self, number: int, error: str, now_s: float) -> list[Effect]:
        """A worker's own code has failed: another one would hardly fare better, but it is tried."""
        count = self._deaths[self.step] = self._deaths.get(self.step, 0) + 1
        if not self.over and count >= min(self.limits.deaths_at_step, self.limits.workers):
            self.over = True
            failed = "the worker" if count == 1 else f"{count} workers"
            return [Finish(f"at step {self.step} {failed} failed; the last error: {error}")]
        return self.closed(number, now_s, f"the program of worker {number} failed: {error}")

    def tick(self, now_s: float) -> list[Effect]:
        """Time has passed."""
        if self.over:
            return []
        silent = [w for w in self.workers.values() if now_s - w.heard_s > self.limits.silent_s]
        hanging = [] if silent else self._hanging(now_s)
        effects: list[Effect] = []
        for worker in silent + hanging:
            why = "says nothing" if worker in silent else "hangs in its own code"
            effects.append(Evict(worker.number, why))
            del self.workers[worker.number]
        gone = [worker.number for worker in silent + hanging]
        if not gone:
            return []
        return effects + self._without(gone, f"worker {gone[0]} {_why(effects)}")

    # What follows from it.

    def _commit(self, agreed: Agreed, now_s: float) -> list[Effect]:
        step, self._asked = self.step, None
        self.step += 1
        if agreed.skip:
            self._skipped = step
        effects: list[Effect] = [Note("odd", agreed.note)] if agreed.note else []
        late, pace = self.pace.late(), self.pace.stepped(self.owners, self.members)
        if late is not None:
            pairs = self.links.reduced(now_s - late.came_s, late.waited_s, self.members)
            effects += [Probe(tuple(pairs))] if pairs else []
        moved = pace.owners if isinstance(pace, Move) else ()
        if isinstance(pace, Move):
            self.owners = pace.owners
            effects.append(Note("pace", pace.text))
        effects += [Commit(self.epoch, step, agreed.skip, moved, late), *self._enter()]
        if isinstance(pace, TooSlow) and len(self.members) > self.limits.least:
            effects += self._evict(Guilty((pace.worker,), pace.text))
        return effects

    def _evict(self, guilty: Guilty) -> list[Effect]:
        """Members that reckon wrongly leave before anyone has used what they made."""
        self._asked = None
        for number in guilty.workers:
            self.workers.pop(number, None)
        named = " and ".join(map(str, guilty.workers))
        reason = f"worker {named} {guilty.reason}"
        evicted = [Evict(number, guilty.reason, guilty=True) for number in guilty.workers]
        return [*evicted, *self._without(guilty.workers, reason)]

    def _heard(self, number: int, now_s: float) -> Worker | None:
        worker = self.workers.get(number)
        if worker is not None:
            worker.heard_s = now_s
        return worker

    def _hanging(self, now_s: float) -> list[Worker]:
        """Members that compute while all others have long been waiting for them."""
        members = [self.workers[number] for number in self.members if number in self.workers]
        computing = [worker for worker in members if worker.phase != "reduce"]
        waiting = [worker for worker in members if worker.phase == "reduce"]
        if not waiting or not computing or not self._planned:
            return []
        since_s = max(worker.phase_s for worker in waiting)
        found = []
        for worker in computing:
            allowed_s = max(self.limits.hang_s, self.limits.hang_times * worker.shard_s)
            if now_s - max(since_s, worker.phase_s) > allowed_s:
                found.append(worker)
        return found

    def _without(self, gone: Sequence[int], reason: str) -> list[Effect]:
        lost = tuple(number for number in gone if number in self.members)
        for worker in self.workers.values():
            if worker.fed_by in gone:
                worker.fed_by, worker.caught_up = None, False
        if not lost:
            return self._feed()
        left = [number for number in self.members if number not in gone]
        if not left:
            return self._restart(reason)
        return self._begin(left, lost, reason)

    def _restart(self, reason: str) -> list[Effect]:
        """No member is left: begin again, unless that has led nowhere too often."""
        self._restarts = 1 if self.step > self._farthest else self._restarts + 1
        self._farthest, self.members = max(self._farthest, self.step), ()
        if self._restarts > self.limits.restarts:
            self.over = True
            return [Finish(f"no worker is left: {reason}")]
        self.step, self._anew, self._asked, self._again = 0, True, None, -1
        self._finished.clear()
        return [Restart(reason, self._restarts), *self._gather()]

    def _gather(self) -> list[Effect]:
        """Begin, or begin again, once there are enough; those with a state come first."""
        waiting = sorted((-w.step, w.number) for w in self.workers.values() if w.ready)
        if len(waiting) < self.limits.workers:
            return []
        reason = "the job begins again" if self._restarts else "the job begins"
        return self._begin([number for _, number in waiting[: self.limits.workers]], (), reason)

    def _begin(self, members: Sequence[int], lost: tuple[int, ...], reason: str) -> list[Effect]:
        self.epoch += 1
        self.members = tuple(sorted(members))
        self._reports, self._planned = {}, False
        self._done.clear()
        self.pace.changed()
        self.links.changed()
        again = self._again == self.step
        begin = Begin(self.epoch, self.step, self.members, lost, reason, again, self._anew)
        return [begin, *self._feed()]

    def _plan(self) -> Plan:
        reports = self._reports
        self.step = max(report.step for report in reports.values())
        source = min(n for n, report in reports.items() if report.step == self.step)
        restore = tuple(
            sorted(
                number
                for number, report in reports.items()
                if report.step < self.step and not (report.reduced and report.step == self.step - 1)
            )
        )
        if self.step <= 0:  # models just made may differ
            self.step = 0
            restore = tuple(number for number in self.members if number != source)
        held = {n: r.held for n, r in reports.items() if r.step == self.step}
        speeds = self.pace.speeds(self.limits.shards, self.members)
        self.owners = tuple(assign(self.limits.shards, self.members, held, speeds))
        return Plan(
            self.epoch,
            self.step,
            source,
            restore,
            self.owners,
            asks=self._asked.shards if self._asked else (),
            redo=self._asked is not None and self._asked.redo,
            skipped=0 <= self._skipped == self.step - 1,
        )

    def _enter(self) -> list[Effect]:
        """Between two steps those come in that have caught up."""
        room = self.limits.workers - len(self.members)
        joiners = sorted(w.number for w in self.workers.values() if w.caught_up and w.ready)
        joiners = [number for number in joiners if number not in self.members][:room]
        if not joiners:
            return []
        for number in joiners:
            self.workers[number].fed_by, self.workers[number].caught_up = None, False
        named = " and ".join(map(str, joiners))
        return self._begin([*self.members, *joiners], (), f"worker {named} joins")

    def _feed(self) -> list[Effect]:
        """Give those that wait the state, as many as there is room for, each from another member."""
        effects: list[Effect] = []
        waiting = [w for w in self.workers.values() if w.ready and w.number not in self.members]
        fed = [w for w in waiting if w.fed_by is not None]
        room = self.limits.workers - len(self.members) - len(fed)
        for joiner in sorted((w for w in waiting if w.fed_by is None), key=lambda w: w.number):
            if room <= 0 or not self.members:
                break
            sources = [w.fed_by for w in self.workers.values() if w.fed_by is not None]
            joiner.fed_by = min(self.members, key=lambda n: (sources.count(n), -n))
            effects.append(Feed(joiner.fed_by, joiner.number))
            room -= 1
        return effects


def _why(effects: Sequence[Effect]) -> str:
    return next(effect.reason for effect in effects if isinstance(effect, Evict))
