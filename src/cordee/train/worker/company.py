"""A worker and the others: how it comes to them, which epoch they are in, and how it leaves."""

import queue
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from msgspec.structs import replace

from cordee.train.wire import (
    CaughtUp,
    Epoch,
    Failed,
    Finished,
    Member,
    Planned,
    Ready,
    Reported,
    Told,
)
from cordee.train.worker.advance import Advance
from cordee.train.worker.backends import groups_for
from cordee.train.worker.control import Control, Left
from cordee.train.worker.device_faults import device_fault
from cordee.train.worker.digest import shapes
from cordee.train.worker.door import Door
from cordee.train.worker.faults import Faults
from cordee.train.worker.groups import Group
from cordee.train.worker.handover import Incoming, Outgoing
from cordee.train.worker.job import Job, Mode, hello_of
from cordee.train.worker.local import LocalControl
from cordee.train.worker.probe import unreached
from cordee.train.worker.replica import Replica
from cordee.train.worker.state import broadcast

CHANGE_S = 60.0
"""So long after a collective failed the coordinator has said who is gone."""

REACH_S = 2.0
"""A member that does not answer in that time is not reached:"""
REACH_AGAIN_S = 3.0
"""so much later one that would come in looks again."""


class UnderWay(Protocol):
    """What a worker is at when members change."""

    def halt(self, free: Callable[[], None]) -> None:
        """Nothing is done with others from here on. `free`: lets what is stuck with them fail."""

    def report(self, *, again: bool) -> tuple[bool, Sequence[int], Sequence[int], int]:
        """Whether it holds the gradient of its step; the shards of it that are computed; earlier steps that are kept;
        steps between two exchanges where workers train by themselves.

        `again`: what it holds is wrong.
        """

    def settle(self, plan: Planned, *, holds: bool) -> None:
        """What becomes of it, as the coordinator says; `holds`: what was reported."""

    def back(self, step: int) -> None:
        """Go back to a step that was kept."""

    def restored(self, step: int) -> None:
        """The state of a step came from another member."""

    def goes_on(self, plan: Planned) -> None:
        """The epoch goes on so."""


class Keeping(Protocol):
    """What is kept for the case that nobody has the state any more."""

    def seek(self, epoch: Epoch) -> None:
        """Ask those of an epoch what they have of it, where that may be needed."""

    def find(self) -> None:
        """Look for the newest that there is, and go on from it."""

    def copied(self, to: str) -> None:
        """What is kept is given to another host, too."""


class Company:
    """The members of a job, for one worker."""

    def __init__(
        self,
        job: Job,
        advance: Advance,
        kind: tuple[int, Mode],
        faults: Faults,
        device: torch.device,
        replica: Replica | None = None,
    ) -> None:
        """`kind`: how many shards a batch has, and the mode; `replica`: where others have the rest of the model."""
        self._door = replica.door if replica is not None else None
        self._replica = replica if self._door is not None else None
        self._job, self._advance, self._kind, self._faults = job, advance, kind, faults
        self._device = device
        self._groups = groups_for(device, kind[1], (job.host, *job.others))
        self.ready: Callable[[], bool] = lambda: True
        """Whether it may be let in, now that it has the state of the others."""
        self._group: Group | None = None
        self.epoch: Epoch | None = None
        self._control: Control | None = None
        self.outgoing = Outgoing(advance, job, faults)
        self._incoming: Incoming | None = None
        self._seek: Callable[[Epoch], None] = lambda epoch: None
        self._column: tuple[int, ...] = ()
        self._look_s = 0.0
        """When it is time to look again whether others are reached."""

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of the workers that take part now."""
        return tuple(m.worker for m in self.epoch.members) if self.epoch is not None else ()

    @property
    def column(self) -> tuple[int, ...]:
        """Those of them that have the same part of the model."""
        return self._column or self.members

    def owned(self, owners: tuple[int, ...]) -> tuple[int, ...]:
        """The owners of shards among those that have the same part of the model."""
        return self._replica.owned(owners) if self._replica is not None else owners

    @property
    def fellows(self) -> tuple[Member, ...]:
        """The same, as others reach them."""
        members = self.epoch.members if self.epoch is not None else ()
        return tuple(member for member in members if member.worker in self.column)

    @property
    def line(self) -> Control:
        assert self._control is not None, "go through `steps` first"
        return self._control

    @property
    def together(self) -> tuple[Control, Group, int]:
        """What this worker has to do with others by."""
        assert self.epoch is not None
        assert self._group is not None
        return self.line, self._group, self.epoch.epoch

    def join(self, keeping: Keeping) -> None:
        """Become a member: at the beginning with all others, later by way of what a member feeds, or of what was kept."""
        if self._control is not None:
            return
        job = self._job
        if not job.coordinator:
            self._control = LocalControl(self._kind[0])
            keeping.find()
            return
        model = shapes(self._advance.layout.parameters)
        ready = Ready(self._kind[0], model) if self._door is not None else Ready()
        door = self._door = self._door or Door(
            job, lambda job, ports: hello_of(job, ports, self._device, self._kind, model)
        )
        incoming = self._incoming = Incoming(self._advance, door.mouth, self._faults)
        line = self._control = door.line
        self._faults.say, self._faults.coordinator = line.say, line.coordinator
        line.on_lost, line.on_feeding = self._groups.free, self.outgoing.want
        line.on_copying, self._seek = keeping.copied, keeping.seek
        line.device_answers = self._groups.answers
        if self._replica is None:  # else what the members of a replica exchange counts, too
            line.moved_bytes = self._groups.moved_bytes
        line.say(ready)
        news = False
        while line.pending is None:
            self._faults.at("wait", self._advance.step)
            try:
                news = incoming.take(0.01)
                if not news:
                    # Whoever fed is gone, or out of reach: another one may.
                    line.say(replace(ready, lost=incoming.lost))
            except queue.Empty:
                line.wait_change(0.01)
            if news and incoming.empty and self.ready() and self._reaches(incoming.members):
                line.say(CaughtUp(self._advance.step))
                news = False
        if line.pending.anew:
            keeping.seek(line.pending)
            keeping.find()

    def _reaches(self, members: Sequence[Member]) -> bool:
        """Whether this worker reaches all members, so that they can go on with it."""
        if time.monotonic() < self._look_s:
            return False
        found = unreached(members, self._job.secret, REACH_S)
        if found:
            self._look_s = time.monotonic() + REACH_AGAIN_S
            self.line.say(Told("cut-off", {"from": " and ".join(map(str, found))}))
        return not found

    def leave(self, turn: Callable[[], None]) -> None:
        """All steps are made: wait until all others have made them, too. `turn`: does what is due with them."""
        control, step = self.line, self._advance.made
        control.say(Finished(step))
        if isinstance(control, LocalControl):
            return
        try:
            while True:
                if control.wait_change(1.0):  # someone went, or came, before all had ended
                    turn()
                    control.enter("outside")
                    control.say(Finished(step))
        except Left as left:
            if left.exit_code:
                raise
        control.close()

    def broke(self, error: RuntimeError) -> None:
        """A collective failed: the coordinator knows why, or will. Raises the error where it does not, or is its own device's."""
        if device_fault(error) is not None:
            raise error  # this worker is of no use any more
        began_s = time.monotonic()
        if self.epoch is not None and self.line.pending is None:
            self.line.say(Failed(self.epoch.epoch, str(error)[:200]))
        if self.line.pending is None and not self.line.wait_change(CHANGE_S):
            raise error
        waited_s = round(time.monotonic() - began_s, 4)
        self.line.say(Told("broken", {"error": str(error)[:200], "waited_s": waited_s}))

    def up_to_date(self, work: UnderWay) -> None:
        """Take part in the newest epoch. Raises `Changed` where a newer one begins meanwhile."""
        control = self.line
        if control.pending is None:
            self.outgoing.start()
            return
        began_s = time.monotonic()
        epoch = control.take_epoch()
        control.enter("outside")
        self.outgoing.rest(up_for=False)
        work.halt(lambda: self._groups.free(epoch.epoch))
        self._faults.at("epoch", self._advance.step)
        self._group = None
        self._groups.drop()
        if self._replica is not None:
            self._replica.drop()
        blank = self._blank(epoch)
        self.epoch, step = epoch, self._advance.step
        self.outgoing.members = epoch.members
        self._faults.reach |= {member.worker: member.feed for member in epoch.members}
        holds, held, kept, apart = work.report(again=epoch.again and epoch.step == step)
        said = (-1 if blank else step, holds, tuple(held), tuple(kept), apart)
        control.say(Reported(epoch.epoch, *said))
        plan = control.expect(Planned, epoch.epoch, self.outgoing.start)
        planned_s = time.monotonic()
        work.settle(plan, holds=holds)
        if self._job.worker in plan.back:
            work.back(plan.step)
        self._groups.over(epoch.ways[self.members.index(self._job.worker)] if epoch.ways else 0)
        self._faults.at("form", step)
        control.enter("form")
        group = self._form(epoch, plan)
        formed_s = time.monotonic()
        if plan.restore:
            self._restore(plan, group, work)
        self._group = group
        work.goes_on(plan)
        self.outgoing.stop(self.members)
        self.outgoing.rest(up_for=bool(epoch.lost))
        self._joined(began_s, planned_s, formed_s)

    def _joined(self, began_s: float, planned_s: float, formed_s: float) -> None:
        """Say how long what has taken, and begin to compute."""
        assert self.epoch is not None
        told = {
            "epoch": self.epoch.epoch,
            "agreed_s": round(planned_s - began_s, 4),
            "formed_s": round(formed_s - planned_s, 4),
            "restored_s": round(time.monotonic() - formed_s, 4),
            "step": self._advance.step,
        }
        self.line.say(Told("joined", dict(told)))
        self.line.enter("compute")

    def _blank(self, epoch: Epoch) -> bool:
        """Whether this worker has no state yet, after it has taken what is fed, or has asked what was kept."""
        self._seek(epoch)
        if self._incoming is None or self._incoming.filled:
            if self._incoming is not None and self.epoch is None:
                self._incoming.until(epoch.step)
            return False
        return not self._begun(epoch)

    def _begun(self, epoch: Epoch) -> bool:
        """Whether this worker has the state of the job, or nobody has one."""
        return self.epoch is not None or epoch.anew

    def _form(self, epoch: Epoch, plan: Planned) -> Group:
        """Join those that have the same part of the model, and the team that has all of it."""
        stores = {member.worker: member.store for member in epoch.members}
        replica = self._replica
        self._column = plan.columns[replica.place] if replica is not None and plan.columns else ()
        rank = self.column.index(self._job.worker)
        group = self._groups.form(epoch.epoch, rank, [stores[number] for number in self.column])
        if replica is not None:
            replica.form(epoch, plan, self._job.worker)
        return group

    def _restore(self, plan: Planned, group: Group, work: UnderWay) -> None:
        source = next(r for r, n in enumerate(self.column) if n in plan.sources)
        takes, before = self._job.worker in plan.restore, self._advance.step
        step = broadcast(self._advance.trained, before, group, source, takes)
        if takes:
            work.restored(step)
