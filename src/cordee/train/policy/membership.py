"""Who takes part in a job: what the coordinator makes of what it hears.

Workers join, fall silent, hang and come back; a step is committed when every member holds its gradient. Each change
of members begins an epoch. Everything that comes in is a method that gives what is to be done; nothing is done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cordee.train.policy.comers import comers, fed, founders, seated
from cordee.train.policy.effects import (
    Begin,
    Commit,
    Effect,
    Evict,
    Finish,
    Note,
    Plan,
    Probe,
    Restart,
)
from cordee.train.policy.footing import footing
from cordee.train.policy.keepers import Keepers
from cordee.train.policy.pace import Late, Move, Pace, TooSlow
from cordee.train.policy.setbacks import Setbacks
from cordee.train.policy.shards import assign
from cordee.train.policy.standstill import Again, Apart, Around, Look, Out
from cordee.train.policy.sums import Total, total_of
from cordee.train.policy.teams import Team, held_by, teams
from cordee.train.policy.ties import Ties
from cordee.train.policy.trust import Agreed, Ask, Guilty, Stop, Trust, Vote
from cordee.train.policy.workers import Limits, Phase, Report, Worker, gone


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
    ties: Ties = field(default_factory=Ties)
    keepers: Keepers = field(default_factory=Keepers)
    owners: tuple[int, ...] = ()
    """Of the shards, as last told; of a team it is the first member."""
    teams: tuple[Team, ...] = ()
    apart: int = 0
    """Steps between two exchanges of members that train by themselves because a link is slow; 0: they do not."""
    _asked: Ask | None = None
    _skipped: int = -1
    _again: int = -1
    """A step in whose reduction someone who was found guilty had a part."""
    _reports: dict[int, Report] = field(default_factory=dict)
    _reported_s: float = 0.0
    """When the last of them came."""
    _planned: bool = False
    _done: dict[int, Vote] = field(default_factory=dict)
    _total: Total | None = None
    """Of the last step that was committed."""
    _finished: set[int] = field(default_factory=set)
    setbacks: Setbacks = field(default_factory=Setbacks)
    _anew: bool = True

    # What comes in.

    def joined(
        self, number: int, now_s: float, place: int | None = None, ways: int = 1, host: int = 0
    ) -> list[Effect]:
        """A worker has begun; it is not ready yet. `place`: that it was given by another coordinator; `ways`: addresses."""
        place = 0 if self.limits.replica == 1 else place
        self.workers[number] = Worker(number, now_s, place=place, ways=ways, host=host)
        return seated(self.workers.values(), self.limits, self.keepers.homes)

    def ready(self, number: int, now_s: float, lost: int = -1) -> list[Effect]:
        """A worker has its model and waits to be let in; `lost`: the member from which no more of the state came."""
        worker = self._heard(number, now_s)
        if worker is None or self.over:
            return []
        worker.ready = True
        if lost >= 0 and worker.fed_by == lost:
            worker.avoid.add(lost)
            worker.fed_by, worker.caught_up = None, False
        if not self.members:
            return self._gather()
        return self._feed() if self._column(worker.place) else self._enter()

    def beat(
        self, number: int, phase: Phase, shard_s: float, now_s: float, moved_bytes: int = -1
    ) -> list[Effect]:
        """A sign of life, with what the worker is at, and what has come and gone over its connections."""
        worker = self._heard(number, now_s)
        changed = worker is not None and worker.beats(phase, shard_s, moved_bytes, now_s)
        if changed and phase == "reduce" and number in self._heads and self._planned:
            self.pace.arrived(number, shard_s, now_s)
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
        self._reports[number], self._reported_s = report, now_s
        self.apart = self.apart or report.apart
        if len(self._reports) < len(self.members) or not self._enough:
            return []
        self._planned, self._anew = True, False
        for member in self.members:  # whatever they were at before
            if member in self.workers:
                self.workers[member].phase, self.workers[member].phase_s = "compute", now_s
        return self._plan()

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
        self._total = total_of([self._done[number].part for number in self.teams[0]])
        finite = self._total is None or self._total.norm is not None
        verdict = self.trust.of_columns(step, self._columns(self._done), finite=finite)
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
        waited_for = self.members and not self._enough  # no step will end till then
        return self._enter() if waited_for else []

    def probed(self, number: int, other: int, bytes_per_s: float) -> list[Effect]:
        """A member has measured its link to another one."""
        found = self.ties.probed((min(number, other), max(number, other)), bytes_per_s)
        note = [Note("link", found)] if found else []
        return [*note, *self._react(self.ties.relief(self._present, self.limits))]

    def stopped(self, error: str) -> list[Effect]:
        """The job cannot be."""
        self.over = True
        return [Finish(error)]

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
        done = number in self._finished and set(self.members) <= self._finished
        if worker is None or self.over or done:
            return []
        return self._without([number], reason)

    def crashed(self, number: int, error: str, now_s: float, device: str = "") -> list[Effect]:
        """A worker's own code has failed: another one would hardly fare better, but it is tried. `device`: or that has."""
        if device:
            return self.closed(number, now_s, f"worker {number}: {device}")
        failed = self.setbacks.crashed(self.step, self.limits)
        if failed and not self.over:
            return self.stopped(f"{failed}; the last error: {error}")
        return self.closed(number, now_s, f"the program of worker {number} failed: {error}")

    def heard_of(self, made: int, total: Total | None, skipped: int) -> None:
        """Members know of the commit of a step, which may be more than this coordinator did."""
        self._skipped = max(self._skipped, skipped)
        if made + 1 >= self.step:
            self.step, self._total = made + 1, total

    def resumed(self, back: Sequence[int], reason: str) -> list[Effect]:
        """Another coordinator goes on, with those members that have come back to it."""
        lost = [number for number in self.members if number not in back]
        if lost or not self.members:
            return self._without(lost, reason) if lost else self._gather()
        return self._begin(self.members, (), reason)

    def tick(self, now_s: float) -> list[Effect]:
        """Time has passed."""
        if self.over:
            return []
        members = list(self._present.values())
        unplanned = None if self._planned else (self._reports.keys(), self._reported_s)
        lost = gone(self.workers.values(), members, unplanned, self.limits, now_s)
        if lost:
            return self._out(Out(tuple(worker.number for worker, _ in lost), lost[0][1]))
        if not self._planned:  # there may be room for fewer than before
            return [] if self.members else self._gather()
        return self._react(self.ties.tick(members, self._late, self.limits, self.step, now_s))

    def fellows(self, number: int) -> tuple[int, ...]:
        """The members that have the same part of the model as one has, and to whom that sends."""
        worker = self.workers.get(number)
        return self.ties.links.fellows(number, self._column(worker.place) if worker else [])

    # What follows from it.

    def _react(self, found: Look | Probe | Again | Around | Apart | Out | None) -> list[Effect]:
        """Do something about links, or members that are stuck."""
        match found:
            case Again(text, ends, down):
                turned = [number for number in ends if self.workers[number].turns()]
                anew = "the group is formed again" + (", over other addresses" if turned else "")
                note = [Note("down", text)] if down else []
                return [*note, *self._begin(self.members, (), f"{text}: {anew}", stuck=True)]
            case Around(text):
                return self._begin(self.members, (), text, stuck=True)
            case Apart(text, steps):
                self.apart = steps
                return self._begin(self.members, (), text, stuck=True)
            case Out():
                note = [Note("down", found.text)] if found.text else []
                return [*note, *self._out(found)]
            case _:
                return [found] if found is not None else []

    @property
    def _late(self) -> Late | None:
        """Who came last to the reduction, where that says something of links."""
        plain = self.limits.replica == 1 and not self.apart
        return self.pace.latest(len(self.members)) if plain else None

    @property
    def _present(self) -> dict[int, Worker]:
        return {n: self.workers[n] for n in self.members if n in self.workers}

    def _commit(self, agreed: Agreed, now_s: float) -> list[Effect]:
        step, self._asked = self.step, None
        self.step += 1
        if agreed.skip:
            self._skipped = step
        effects: list[Effect] = [Note("odd", agreed.note)] if agreed.note else []
        effects += self._react(self.ties.stepped(self._late, now_s, self.members))
        late, pace = self.pace.late(), self.pace.stepped(self.owners, self._heads)
        moved = pace.owners if isinstance(pace, Move) else ()
        self.owners = moved or self.owners
        effects += [Note("pace", pace.text)] if isinstance(pace, Move) else []
        effects.append(Commit(self.epoch, step, agreed.skip, moved, late, self._total))
        effects += self._enter()
        if isinstance(pace, TooSlow) and len(self._heads) > max(1, self.limits.least):
            effects += self._evict(Guilty((pace.worker,), pace.text))
        return effects

    def _evict(self, found: Guilty) -> list[Effect]:
        """Members that reckon wrongly leave before anyone has used what they made."""
        self._asked = None
        return self._out(Out(found.workers, found.reason, guilty=True))

    def _out(self, out: Out) -> list[Effect]:
        """Workers that are alive leave."""
        for number in out.workers:
            self.workers.pop(number, None)
        named = " and ".join(map(str, out.workers))
        evicted = [Evict(n, out.reason, guilty=out.guilty, link=out.link) for n in out.workers]
        return [*evicted, *self._without(out.workers, f"worker {named} {out.reason}")]

    def _heard(self, number: int, now_s: float) -> Worker | None:
        worker = self.workers.get(number)
        if worker is not None:
            worker.heard_s = now_s
        return worker

    def _without(self, gone: Sequence[int], reason: str) -> list[Effect]:
        lost = tuple(number for number in gone if number in self.members)
        for worker in self.workers.values():
            if worker.fed_by in gone:
                worker.fed_by, worker.caught_up = None, False
        seats = seated(self.workers.values(), self.limits, self.keepers.homes)
        if not lost:
            return seats + self._feed()
        left = [number for number in self.members if number not in gone]
        if not left:
            return seats + self._restart(reason)
        return seats + self._begin(left, lost, reason)

    def _column(self, place: int | None) -> list[int]:
        """The members with a place."""
        return [n for n in self.members if n in self.workers and self.workers[n].place == place]

    def _columns(self, votes: dict[int, Vote]) -> list[dict[int, Vote]]:
        columns = [self._column(place) for place in range(self.limits.replica)]
        return [{n: votes[n] for n in column if n in votes} for column in columns]

    @property
    def _heads(self) -> tuple[int, ...]:
        """The first member of each team."""
        return tuple(team[0] for team in self.teams)

    @property
    def _enough(self) -> bool:
        """Whether there are members enough to make a step."""
        return len(self.members) >= self.limits.least and bool(self.teams)

    def _restart(self, reason: str) -> list[Effect]:
        """No member is left: begin again, unless that has led nowhere too often."""
        self.members = ()
        if not self.setbacks.restarts_from(self.step, self.limits):
            return self.stopped(f"no worker is left: {reason}")
        self.step, self._anew, self._asked, self._again, self.apart = 0, True, None, -1, 0
        self._finished.clear()
        return [Restart(reason, self.setbacks.restarts), *self._gather()]

    def _gather(self) -> list[Effect]:
        """Begin, or begin again, once there are enough."""
        chosen = founders(self.workers.values(), self.limits)
        reason = "the job begins again" if self.setbacks.restarts else "the job begins"
        return self._begin(chosen, (), reason) if chosen else []

    def _begin(
        self, members: Sequence[int], lost: tuple[int, ...], reason: str, *, stuck: bool = False
    ) -> list[Effect]:
        self.epoch += 1
        self.members = tuple(sorted(members))
        places = {n: self.workers[n].place or 0 for n in self.members}
        self.teams = teams(places, self.limits.replica, self.teams)
        self._reports, self._planned = {}, False
        self._done.clear()
        self.pace.changed()
        self.ties.changed(self.members)
        again = self._again == self.step
        ways = tuple(self.workers[n].way for n in self.members)
        told = (self.epoch, self.step, self.members, lost, reason, again, self._anew, stuck)
        begin = Begin(*told, ways if any(ways) else ())
        return [begin, *self._feed()]

    def _plan(self) -> list[Effect]:
        reports, replica = self._reports, self.limits.replica
        columns = [self._column(place) for place in range(replica)]
        found = footing(reports, columns)
        if found is None:
            return self.stopped("a part of the model is lost: nothing was kept of it")
        self._total = self._total if found.step >= self.step else None
        self.step, restore = found.step, found.restore
        held = {n: r.held for n, r in reports.items() if r.step == self.step and n not in restore}
        whole, forget = held_by(self.teams, held)
        speeds = self.pace.speeds(self.limits.shards, self._heads)
        self.owners = tuple(assign(self.limits.shards, self._heads, whole, speeds))
        plan = Plan(
            self.epoch,
            self.step,
            found.sources,
            restore,
            self.owners,
            back=found.back,
            asks=self._asked.shards if self._asked else (),
            redo=self._asked is not None and self._asked.redo,
            skipped=0 <= self._skipped == self.step - 1,
            columns=tuple(map(tuple, columns)) if replica > 1 else (),
            teams=self.teams if replica > 1 else (),
            forget=forget if replica > 1 else (),
            total=self._total,
            apart=self.apart,
            adders=self.ties.links.adders(self.members),
        )
        return [plan]

    def _enter(self) -> list[Effect]:
        """Between two steps those come in that have caught up."""
        room = self.limits.workers - len(self.members)
        joiners = comers(self.workers.values(), self.members, room, self._column)
        if not joiners:
            return []
        named = " and ".join(map(str, joiners))
        return self._begin([*self.members, *joiners], (), f"worker {named} joins")

    def _feed(self) -> list[Effect]:
        """Give those that wait the state."""
        return fed(self.workers, self.members, self.limits.workers, self._column)
