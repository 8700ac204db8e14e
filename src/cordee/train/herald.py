"""What the workers of a job, and its journal, hear of what the policy decides."""

import time

from cordee.core.events import Events
from cordee.train.accounts import Accounts
from cordee.train.crew import Crew
from cordee.train.policy.effects import (
    Begin,
    Commit,
    Copies,
    Feed,
    Note,
    Plan,
    Probe,
    Restart,
    Seat,
)
from cordee.train.policy.membership import Membership
from cordee.train.policy.standstill import Look
from cordee.train.wire import Committed, Copying, Epoch, Feeding, Looking, Probing, Seated, planned

News = Begin | Plan | Commit | Note | Restart | Seat | Probe | Look | Feed | Copies


class Herald:
    """A coordinator's."""

    def __init__(self, events: Events, crew: Crew, accounts: Accounts) -> None:
        self._events, self._crew, self._accounts = events, crew, accounts

    def tell(self, news: News, job: Membership) -> None:
        """Tell those whom it concerns."""
        match news:
            case Begin():
                self._begin(news)
            case Plan():
                self._planned(news, job)
            case Commit():
                self._commit(news, job)
            case Note():
                self._events.add(news.kind, step=job.step, text=news.text)
            case Restart():
                self._events.add("restart", reason=news.reason, count=news.count)
            case Seat() | Copies():
                self._parts(news)
            case Probe():
                self._probe(news, job)
            case Look():
                self._look(news, job)
            case Feed():
                self._events.add("feed", worker=news.joiner, source=news.source)
                to = self._crew.hellos[news.joiner].feed
                self._crew.say(news.source, Feeding(news.joiner, to))

    def _begin(self, begin: Begin) -> None:
        self._events.add(
            "epoch",
            epoch=begin.epoch,
            step=begin.step,
            members=list(begin.members),
            lost=list(begin.lost),
            reason=begin.reason,
        )
        self._crew.took_part.update(begin.members)
        members = tuple(self._crew.member(number) for number in begin.members)
        told = (begin.epoch, begin.step, members, begin.lost, begin.reason)
        epoch = Epoch(*told, begin.again, begin.anew, begin.stuck, begin.ways)
        self._crew.cast(begin.members, epoch)

    def _planned(self, plan: Plan, job: Membership) -> None:
        self._events.add(
            "plan",
            epoch=plan.epoch,
            step=plan.step,
            restore=list(plan.restore),
            owners=list(plan.owners),
            **({"teams": [list(team) for team in plan.teams]} if plan.teams else {}),
        )
        self._crew.cast(job.members, planned(plan, job.trust.checks))

    def _commit(self, commit: Commit, job: Membership) -> None:
        more: dict[str, object] = {"skipped": True} if commit.skip else {}
        if commit.late is not None:
            more |= {"last": commit.late.worker, "waited_s": round(commit.late.waited_s, 4)}
        if commit.owners:
            more["owners"] = list(commit.owners)
        more |= self._accounts.committed(time.monotonic())
        if commit.total is not None:
            more["loss"] = commit.total.loss
        self._events.add("commit", step=commit.step, epoch=commit.epoch, **more)
        told = Committed(commit.epoch, commit.step, commit.skip, commit.owners, commit.total)
        self._crew.cast(job.members, told)

    def _parts(self, news: Seat | Copies) -> None:
        """Who has which part of the model, or keeps it."""
        if isinstance(news, Seat):
            self._events.add("seat", worker=news.worker, place=news.place)
            self._crew.say(news.worker, Seated(news.place))
            return
        self._events.add("copies", pairs=[list(pair) for pair in news.pairs])
        for number, to in news.pairs:
            feed = self._crew.hellos[to].feed if to is not None else ""
            self._crew.say(number, Copying(feed))

    def _probe(self, probe: Probe, job: Membership) -> None:
        """The first of each pair measures."""
        self._events.add("probe", step=job.step)
        for number in {pair[0] for pair in probe.pairs}:
            peers = [other for one, other in probe.pairs if one == number]
            self._crew.say(number, Probing(tuple(self._crew.member(other) for other in peers)))

    def _look(self, look: Look, job: Membership) -> None:
        """The first of each pair looks, and each member at its own device."""
        self._events.add("standstill", step=job.step, members=list(job.members))
        for number in job.members:
            others = [other for one, other in look.pairs if one == number]
            peers = tuple(self._crew.member(other) for other in others)
            self._crew.say(number, Looking(look.number, peers, look.most_s))
