"""The loop of a training script: steps, and in each the shards that this worker has to compute."""

import queue
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import Cadence
from cordee.train.wire import (
    CaughtUp,
    Committed,
    Done,
    Epoch,
    Finished,
    Planned,
    Progressed,
    Ready,
    Reported,
    Told,
)
from cordee.train.worker.apart import advance_of
from cordee.train.worker.backends import groups_for
from cordee.train.worker.control import Changed, Control, Left, Line
from cordee.train.worker.digest import shapes
from cordee.train.worker.failures import report_crashes
from cordee.train.worker.faults import faults_of
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group
from cordee.train.worker.handover import Incoming, Outgoing
from cordee.train.worker.job import Mode, agreed, hello_of, job_of
from cordee.train.worker.keeping import Keeping
from cordee.train.worker.local import LocalControl
from cordee.train.worker.reduction import Exact, Fast, Reduction
from cordee.train.worker.rounds import Rounds, rounds_of
from cordee.train.worker.seeds import seed_all
from cordee.train.worker.state import Stateful, Trained, broadcast
from cordee.train.worker.step import Step
from cordee.train.worker.store import Store
from cordee.train.worker.watch import Watch

MEMBERS_MOST = 4096
CHANGE_S = 60.0
"""So long after a collective failed the coordinator has said who is gone."""


class Training:
    """A model that is trained by all workers of a job, whoever of them fails.

    The batch of a step is a fixed number of shards; data must follow from the number of the step and the shard.
    Parameters may not be changed but by the optimizer.
    """

    def __init__(  # noqa: PLR0913 - what a training has, by name
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        shards: int,
        mode: Mode | None = None,
        clip: float | None = None,
        schedulers: Sequence[Stateful] = (),
        seed: int = 0,
        cadence: Cadence | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 100,
    ) -> None:
        """`clip`: the largest norm of the gradient. Schedulers are stepped after each step. `cadence`: of mode `local`.

        `checkpoint`: a folder that gets states, and from whose newest training goes on, as with `--checkpoint`.
        Raises `UsageError` where the job is another one than the program says.
        """
        self._job = job = job_of()
        self.shards = agreed(shards, job)
        self.mode: Mode = job.mode or mode or "fast"
        self._seed = seed
        trained = Trained(model, optimizer, tuple(schedulers))
        self._layout = Layout(trained.parameters, min(MEMBERS_MOST, max(64, self.shards)))
        cadence = (cadence or Cadence()) if self.mode == "local" else None
        self._advance = advance_of(trained, self._layout, clip, cadence)
        self._device = self._layout.parts[0].device
        kind = Exact if self.mode == "exact" else Fast
        self._reduction: Reduction = kind(self._layout, self.shards)
        self._groups = groups_for(self._device, self.mode)
        self._group: Group | None = None
        self._epoch: Epoch | None = None
        self._owners: tuple[int, ...] = ()
        self._reduced: list[Tensor] | None = None
        self._control: Control | None = None
        self._faults = faults_of(job.worker, trained)
        self._watch = Watch(
            job.worker, self._advance, exact=self.mode == "exact", shards=self.shards
        )
        self._elsewhere = False
        # Whether the shard at hand is one of another worker, computed to be compared.
        self._outgoing = Outgoing(self._advance, job.secret, self._faults)
        self._incoming: Incoming | None = None
        self._rounds = rounds_of(self._advance, self._outgoing, self._faults)
        self._store: Store | None = None
        keep = job.keep.or_in(checkpoint, checkpoint_every, nothing=self.mode == "local")
        self._keeping = Keeping(keep, self._advance, job.worker, lambda told: self._line.say(told))

    @property
    def step(self) -> int:
        """How many steps are made."""
        return self._advance.made

    @property
    def loss(self) -> float:
        """The mean loss over all shards of the last step."""
        return self._advance.loss

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of the workers that take part now."""
        return tuple(m.worker for m in self._epoch.members) if self._epoch is not None else ()

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes and prints, of those that take part."""
        return bool(self.members) and self.members[0] == self._job.worker

    def steps(self, count: int) -> Iterator[Step]:
        """The steps that are left until `count` are made. Waits where others are to come first."""
        try:
            self._join()
            while self.step < count:
                step = Step(self, self.step)
                yield step
                if self.step == step.number:
                    raise UsageError(
                        f"step {step.number} was left before its end: go through all its shards"
                    )
            while self._rounds is not None and not self._rounds.over(count):
                self._turn()
            self._leave()
        except Left as left:
            self._end(left)

    # One step.

    def shards_of(self, number: int) -> Iterator[int]:
        """The shards that this worker has to compute in a step; it is committed when they end."""
        control = self._line
        while self.step == number:
            try:
                self._up_to_date()
                if self._rounds is not None:
                    self._owners = self._rounds.turn(*self._together, self._owners, ends=False)
                if self.step != number:
                    return
                shard = self._next_shard()
                if shard is not None:
                    began_s = time.monotonic()
                    self._begin(shard)
                    self._faults.at("forward", self.step)
                    yield shard
                    self._faults.at("backward", self.step)
                    self._end_shard(shard)
                    control.shard_s = time.monotonic() - began_s
                elif self._apart is not None:
                    self._apart.step(self._reduction)
                else:
                    self._apply(skip=self._commit(number))
            except Changed:
                continue
            except RuntimeError as error:
                self._broke(error)

    def backward(self, loss: Tensor) -> None:
        """The backward pass of a shard's part of the loss, which is kept. Raises `UsageError`."""
        part = loss / self.shards
        part.backward()
        self._layout.add_loss(self._attached, part)

    def _next_shard(self) -> int | None:
        mine = self._mine() if self._reduced is None else None
        self._elsewhere = mine is None and self._apart is None
        if mine is not None or self._apart is not None:
            return mine
        return self._watch.wanted()

    def _mine(self) -> int | None:
        held = self._reduction.held
        me = self._job.worker
        mine = (s for s, owner in enumerate(self._owners) if owner == me and s not in held)
        return next(mine, None)

    def _end_shard(self, shard: int) -> None:
        if self._elsewhere:
            self._watch.computed(shard)
            return
        if self._apart is None:
            self._watch.ends(shard, self._attached)
        self._reduction.end(shard)

    def _begin(self, shard: int) -> None:
        self._line.say(Progressed())
        if self._elsewhere:
            self._attached = self._watch.scratch()
        else:
            alone = self._apart is None and self._watch.apart(shard)
            self._attached = self._reduction.begin(shard, apart=alone)
            if self._apart is None:
                self._watch.begins(shard, self._attached)
        self._layout.attach(self._attached)
        self._faults.gradient, self._faults.shard = self._attached, shard
        seed_all(self._seed, self.step, shard)

    def _commit(self, number: int) -> bool:
        """Bring the gradients together, and agree; gives whether they are to be left out. Raises `Changed`."""
        control, group, epoch = self._together
        if self._reduced is None:
            control.enter("reduce")
            self._faults.at("reduce", number)
            self._reduced = self._reduction.reduce(group, self._owners, self.members)
        self._faults.at("vote", number)
        control.say(Done(epoch, number, self._watch.vote(number)))
        self._faults.at("voted", number)
        committed = control.expect(Committed, epoch, self._outgoing.start)
        self._faults.at("apply", number)
        if committed.owners:
            self._owners = self._watch.owners = committed.owners
        return committed.skip

    def _apply(self, *, skip: bool) -> None:
        """Make the step that was agreed upon, or leave it out."""
        assert self._reduced is not None
        self._line.enter("apply")
        if skip:
            self._advance.skip()
        else:
            self._watch.applies()
            self._advance.make(self._reduced)
            self._watch.applied(self._reduced)
        self._reduction.reset()
        self._outgoing.add(self._reduced, skipped=skip)
        self._reduced = None
        self._keeping.made(self._epoch)
        self._line.enter("compute")

    def _settle(self, plan: Planned, *, holds: bool) -> None:
        """What becomes of what was under way when the members changed."""
        made = holds and plan.step == self._advance.step + 1
        if self._apart is not None:
            self._apart.settle(committed=made)
        elif made:
            self._apply(skip=plan.skipped)  # others were told of the commit before this worker was
        else:
            self._reduced = None  # not all may hold it: it is made again by all

    @property
    def _apart(self) -> Rounds | None:
        """Where workers train by themselves now: their rounds."""
        return self._rounds if self._rounds is not None and self._rounds.apart else None

    @property
    def _together(self) -> tuple[Control, Group, int]:
        """What this worker has to do with others by."""
        assert self._epoch is not None
        assert self._group is not None
        return self._line, self._group, self._epoch.epoch

    def _turn(self) -> None:
        """After the last step: do what is due with the others, whoever of them goes."""
        try:
            self._up_to_date()
            if self._rounds is not None:
                self._rounds.turn(*self._together, self._owners, ends=True)
        except Changed:
            return
        except RuntimeError as error:
            self._broke(error)

    def _broke(self, error: RuntimeError) -> None:
        """A collective failed: the coordinator knows why, or will. Raises the error where it does not."""
        began_s = time.monotonic()
        if self._line.pending is None and not self._line.wait_change(CHANGE_S):
            raise error
        waited_s = round(time.monotonic() - began_s, 4)
        self._line.say(Told("broken", {"error": str(error)[:200], "waited_s": waited_s}))

    # Epochs.

    def _up_to_date(self) -> None:
        """Take part in the newest epoch. Raises `Changed` where a newer one begins meanwhile."""
        control = self._line
        if control.pending is None:
            self._outgoing.start()
            return
        began_s = time.monotonic()
        epoch = control.take_epoch()
        control.enter("outside")
        if self._rounds is not None:
            self._rounds.halt(lambda: self._groups.free(epoch.epoch))
        self._faults.at("epoch", self._advance.step)
        self._group = None
        self._groups.drop()
        if self._incoming is not None and self._epoch is None:
            self._incoming.until(epoch.step)
        self._epoch, step = epoch, self._advance.step
        if epoch.again and epoch.step == step:
            self._reduced = None  # what the guilty one gave is in it
        holds = self._apart.holds if self._apart is not None else self._reduced is not None
        held = self._reduction.held if self._apart is None else ()
        control.say(Reported(epoch.epoch, step, holds, held))
        plan = control.expect(Planned, epoch.epoch, self._outgoing.start)
        planned_s = time.monotonic()
        self._settle(plan, holds=holds)
        rank = self.members.index(self._job.worker)
        stores = [member.store for member in epoch.members]
        self._faults.at("form", step)
        group = self._groups.form(epoch.epoch, rank, stores)
        formed_s = time.monotonic()
        if plan.restore:
            self._restore(plan, group)
        self._group, self._owners = group, plan.owners
        self._watch.planned(plan, self.members)
        self._outgoing.stop(self.members)
        told = {
            "epoch": epoch.epoch,
            "agreed_s": round(planned_s - began_s, 4),
            "formed_s": round(formed_s - planned_s, 4),
            "restored_s": round(time.monotonic() - formed_s, 4),
            "step": self._advance.step,
        }
        control.say(Told("joined", dict(told)))
        control.enter("compute")

    def _restore(self, plan: Planned, group: Group) -> None:
        source = self.members.index(plan.source)
        takes, before = self._job.worker in plan.restore, self._advance.step
        step = broadcast(self._advance.trained, before, group, source, takes)
        if takes:
            self._reduction.reset()
            self._reduced = None
            self._advance.filled(step)

    # Coming and going.

    @property
    def _line(self) -> Control:
        assert self._control is not None, "go through `steps` first"
        return self._control

    def _join(self) -> None:
        """Become a member: at the beginning with all others, later by way of what a member feeds."""
        if self._control is not None:
            return
        job = self._job
        if not job.coordinator:
            self._control = LocalControl(self.shards)
            self._keeping.find()
            return
        incoming = self._incoming = Incoming(self._advance, job.host, job.secret, self._faults)
        self._store = Store(job.host)
        ports = (self._store.port, incoming.port)
        hello = hello_of(
            job, ports, self._device, (self.shards, self.mode), shapes(self._layout.parameters)
        )
        line = Line(job.coordinator, job.secret, hello, self._groups.free, self._outgoing.want)
        self._control = line
        report_crashes(line)
        line.say(Ready())
        while line.pending is None:
            try:
                if not incoming.take(0.01):
                    line.say(Ready())  # whoever fed is gone: another one may
                elif incoming.empty:
                    line.say(CaughtUp(self._advance.step))
            except queue.Empty:
                line.wait_change(0.01)
        if line.pending.anew:
            self._keeping.find()

    def _leave(self) -> None:
        """All steps are made: wait until all others have made them, too."""
        control = self._line
        control.enter("outside")
        self._keeping.end(self._epoch)
        control.say(Finished(self.step))
        if isinstance(control, LocalControl):
            return
        try:
            while True:
                if control.wait_change(1.0):  # someone went, or came, before all had ended
                    self._turn()
                    control.enter("outside")
                    control.say(Finished(self.step))
        except Left as left:
            if left.exit_code:
                raise
        control.close()

    def _end(self, left: Left) -> None:
        raise SystemExit(f"cordee train: worker {self._job.worker} ends: {left}") from None
