"""The loop of a training script: steps, and in each the shards that this worker has to compute."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import Cadence
from cordee.train.wire import Committed, Done, Planned, Progressed
from cordee.train.worker.apart import advance_of
from cordee.train.worker.company import Company
from cordee.train.worker.control import Changed, Left
from cordee.train.worker.faults import faults_of
from cordee.train.worker.gradients import Layout
from cordee.train.worker.job import Mode, agreed, job_of
from cordee.train.worker.keeping import Keeping
from cordee.train.worker.reduction import Exact, Fast, Reduction
from cordee.train.worker.rounds import Rounds, rounds_of
from cordee.train.worker.seeds import seed_all
from cordee.train.worker.state import Stateful, Trained, Value
from cordee.train.worker.step import Step
from cordee.train.worker.watch import Watch

MEMBERS_MOST = 4096


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
        kind = Exact if self.mode == "exact" else Fast
        self._reduction: Reduction = kind(self._layout, self.shards)
        self._owners: tuple[int, ...] = ()
        self._reduced: list[Tensor] | None = None
        self._faults = faults_of(job.worker, trained)
        self._watch = Watch(
            job.worker, self._advance, exact=self.mode == "exact", shards=self.shards
        )
        self._elsewhere = False
        # Whether the shard at hand is one of another worker, computed to be compared.
        device = self._layout.parts[0].device
        self._company = Company(job, self._advance, (self.shards, self.mode), self._faults, device)
        self._outgoing = self._company.outgoing
        self._rounds = rounds_of(self._advance, self._outgoing, self._faults)
        keep = job.keep.or_in(checkpoint, checkpoint_every, nothing=self.mode == "local")
        self._keeping = Keeping(
            keep, self._advance, job.worker, lambda told: self._company.line.say(told)
        )

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
        return self._company.members

    @property
    def mine(self) -> tuple[int, ...]:
        """The shards that this worker owns now."""
        me = self._job.worker
        return tuple(shard for shard, owner in enumerate(self._owners) if owner == me)

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes and prints, of those that take part."""
        return bool(self.members) and self.members[0] == self._job.worker

    def steps(self, count: int) -> Iterator[Step]:
        """The steps that are left until `count` are made. Waits where others are to come first."""
        try:
            self._company.join(self._keeping.find)
            while self.step < count:
                step = Step(self, self.step)
                yield step
                if self.step == step.number:
                    raise UsageError(
                        f"step {step.number} was left before its end: go through all its shards"
                    )
            while self._rounds is not None and not self._rounds.over(count):
                self._turn()
            self._company.line.enter("outside")
            self._keeping.end(self._company.epoch)
            self._company.leave(self._turn)
        except Left as left:
            told = f"cordee train: worker {self._job.worker} ends: {left}"
            raise SystemExit(told) from None

    # One step.

    def shards_of(self, number: int) -> Iterator[int]:
        """The shards that this worker has to compute in a step; it is committed when they end."""
        control = self._company.line
        while self.step == number:
            try:
                self._company.up_to_date(self)
                if self._rounds is not None:
                    self._owners = self._rounds.turn(
                        *self._company.together, self._owners, ends=False
                    )
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
                self._company.broke(error)

    def backward(self, loss: Tensor) -> None:
        """The backward pass of a shard's part of the loss, which is kept. Raises `UsageError`."""
        part = loss / self.shards
        part.backward()
        self._layout.add_loss(self._attached, part)

    def note(self, told: dict[str, Value]) -> None:
        """More that those are told who get the gradient of the step at hand, beside the optimizer's settings."""
        self._advance.used[-1] |= told

    def follows(self, ready: Callable[[], bool]) -> None:
        """The loop is another one's: shards cannot be compared. `ready`: whether it is where others are."""
        self._watch.states_only = True
        self._company.ready = ready

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
        self._company.line.say(Progressed())
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
        control, group, epoch = self._company.together
        if self._reduced is None:
            control.enter("reduce")
            self._faults.at("reduce", number)
            self._reduced = self._reduction.reduce(group, self._owners, self.members)
        self._faults.at("vote", number)
        loss, sent_bytes = self._layout.loss(self._reduced), self._reduction.sent_bytes
        control.say(Done(epoch, number, self._watch.vote(number), loss, sent_bytes))
        self._faults.at("voted", number)
        committed = control.expect(Committed, epoch, self._outgoing.start)
        self._faults.at("apply", number)
        if committed.owners:
            self._owners = self._watch.owners = committed.owners
        return committed.skip

    def _apply(self, *, skip: bool) -> None:
        """Make the step that was agreed upon, or leave it out."""
        assert self._reduced is not None
        self._company.line.enter("apply")
        if skip:
            self._advance.skip()
        else:
            self._watch.applies()
            self._advance.make(self._reduced)
            self._watch.applied(self._reduced)
        self._reduction.reset()
        self._outgoing.add(self._reduced, skipped=skip)
        self._reduced = None
        self._keeping.made(self._company.epoch)
        self._company.line.enter("compute")

    @property
    def _apart(self) -> Rounds | None:
        """Where workers train by themselves now: their rounds."""
        return self._rounds if self._rounds is not None and self._rounds.apart else None

    def _turn(self) -> None:
        """After the last step: do what is due with the others, whoever of them goes."""
        try:
            self._company.up_to_date(self)
            if self._rounds is not None:
                self._rounds.turn(*self._company.together, self._owners, ends=True)
        except Changed:
            return
        except RuntimeError as error:
            self._company.broke(error)

    # What is under way when members change.

    def halt(self, free: Callable[[], None]) -> None:
        if self._rounds is not None:
            self._rounds.halt(free)

    def report(self, *, again: bool) -> tuple[bool, Sequence[int]]:
        if again:
            self._reduced = None  # what the guilty one gave is in it
        if self._apart is not None:
            return self._apart.holds, ()
        return self._reduced is not None, self._reduction.held

    def settle(self, plan: Planned, *, holds: bool) -> None:
        made = holds and plan.step == self._advance.step + 1
        if self._apart is not None:
            self._apart.settle(committed=made)
        elif made:
            self._apply(skip=plan.skipped)  # others were told of the commit before this worker was
        else:
            self._reduced = None  # not all may hold it: it is made again by all

    def restored(self, step: int) -> None:
        self._reduction.reset()
        self._reduced = None
        self._advance.filled(step)

    def goes_on(self, plan: Planned) -> None:
        self._owners = plan.owners
        self._watch.planned(plan, self.members)
