"""The loop of a training script: steps, and in each the shards that this worker has to compute."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import Cadence
from cordee.train.policy.sums import Part, Total
from cordee.train.policy.trust import Vote
from cordee.train.wire import Committed, Done, Planned, Progressed
from cordee.train.worker.apart import advance_of
from cordee.train.worker.backends import finish
from cordee.train.worker.company import Company
from cordee.train.worker.control import Changed, Left
from cordee.train.worker.faults import faults_of
from cordee.train.worker.gradients import Layout
from cordee.train.worker.job import Mode, agreed, job_of
from cordee.train.worker.keeping import Keeping
from cordee.train.worker.reduction import Exact, Fast, Reduction
from cordee.train.worker.replica import current, whole_shards
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
        self._replica = replica = current()
        self.shards = agreed(shards, job)
        self.mode: Mode = job.mode or mode or "fast"
        self._seed = seed
        self._whole = whole_shards(self.shards, self.mode, replica)
        trained = Trained(model, optimizer, tuple(schedulers))
        room = min(MEMBERS_MOST, max(64, self.shards))
        self._layout = Layout(trained.parameters, room, replica.copies if replica else 1)
        self._advance = advance_of(trained, self._layout, clip, self.mode, cadence)
        kind = Exact if self.mode == "exact" or replica is not None else Fast
        self._reduction: Reduction = kind(self._layout, self._whole)
        self._owners: tuple[int, ...] = ()
        self._reduced: list[Tensor] | None = None
        self._total: Total | None = None
        self._faults = faults_of(job.worker, trained, self._layout)
        self._watch = Watch(
            job.worker, self._advance, exact=self.mode == "exact", shards=self._whole
        )
        self._elsewhere = self._loose = False
        # Whether the shard at hand is one of another worker, computed to be compared; whether its gradient lies anywhere.
        self._device = self._layout.parts[0].device
        self._company = Company(
            job, self._advance, (self._whole, self.mode), self._faults, self._device, replica
        )
        self._outgoing = self._company.outgoing
        self._rounds = rounds_of(self._advance, self._outgoing, self._faults)
        keep = job.keep.or_in(checkpoint, checkpoint_every, nothing=self.mode == "local")
        place = replica.place if replica is not None and replica.size > 1 else None
        self._keeping = Keeping(
            keep, self._advance, job, lambda told: self._company.line.say(told), place
        )
        self._reduction.into(
            self._keeping.room, lambda bucket: self._faults.at("bucket", self.step, bucket)
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
    def epoch(self) -> int:
        """Another number whenever the members are others."""
        return self._company.epoch.epoch if self._company.epoch is not None else 0

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes and prints, of those that take part."""
        return bool(self.members) and self.members[0] == self._job.worker

    def steps(self, count: int) -> Iterator[Step]:
        """The steps that are left until `count` are made. Waits where others are to come first."""
        try:
            self._company.join(self._keeping)
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
            self._keeping.end(self._company.fellows)
            self._company.leave(self._turn)
        except Left as left:
            raise self._end(left) from None

    def _end(self, left: Left) -> SystemExit:
        return SystemExit(f"cordee train: worker {self._job.worker} ends: {left}")

    def shards_of(self, number: int) -> Iterator[int]:
        """The shards that this worker has to compute in a step; it is committed when they end."""
        control = self._company.line
        while self.step == number:
            try:
                self._company.up_to_date(self)
                self._take_turn(ends=False)
                if self.step != number:
                    return
                shard = self._next_shard()
                if shard is not None:
                    began_s = time.monotonic()
                    self._begin(shard)
                    self._faults.at("forward", self.step)
                    yield self._shown(shard)
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
            except Left as left:
                raise self._end(left) from None

    def _broke(self, error: RuntimeError) -> None:
        try:
            self._company.broke(error)
        except Left as left:
            raise self._end(left) from None

    def backward(self, loss: Tensor) -> None:
        """The backward pass of a shard's part of the loss, which is kept. Raises `UsageError`."""
        part = loss / self._whole
        with self._reduction.watching():
            part.backward()
        if not self._loose:
            self._layout.collect()
        self._layout.add_loss(self._attached, part)

    def note(self, told: dict[str, Value]) -> None:
        """More that those are told who get the gradient of the step at hand, beside the optimizer's settings."""
        self._advance.used[-1] |= told

    def follows(self, ready: Callable[[], bool]) -> None:
        """The loop is another one's: shards cannot be compared. `ready`: whether it is where others are."""
        self._watch.states_only = True
        self._company.ready = ready

    def computed(self, loss: Tensor | None = None) -> None:
        """The program has made the backward pass of a shard itself. Raises `UsageError`."""
        if self._replica is None:
            raise UsageError(
                "step.computed is for programs that ask for a ct.mesh: use step.backward"
            )
        share = torch.tensor(1 / self._whole, device=self._device)
        self._layout.scale(self._attached, share)
        self._layout.add_loss(self._attached, (loss if loss is not None else 0 * share) * share)

    def _shown(self, shard: int) -> int:
        """The number of a shard for the program: a replica may divide each among its workers."""
        replica = self._replica
        return shard if replica is None else shard * replica.data + replica.piece

    def _next_shard(self) -> int | None:
        held = self._reduction.held
        left = [shard for shard in self.mine if shard not in held and self._reduced is None]
        self._elsewhere = not left and self._apart is None
        if left or self._apart is not None:
            return left[0] if left else None
        return self._watch.wanted()

    def _end_shard(self, shard: int) -> None:
        if not self._loose:
            self._layout.collect()
        if self._elsewhere:
            self._watch.computed(shard)
            return
        if self._replica is not None:
            self._whole_replica()
        last = self._apart is None and self._last(shard)
        if self._apart is None and not self._watch.ends(shard, self._attached, last=last):
            self._company.line.enter("reduce")
            self._reduction.lost()
            self._company.line.enter("compute")
            return
        self._reduction.end(shard)
        if self._replica is not None:
            finish(self._device)  # what is held stays, whatever is stopped from now on

    def _last(self, shard: int) -> bool:
        """Whether all shards of this worker are computed when this one is."""
        return set(self.mine) <= {shard, *self._reduction.held}

    @property
    def _plain(self) -> bool:
        """Whether nobody but the reduction needs the gradient of the shard at hand."""
        if self._replica is not None or self._apart is not None or self._watch.states_only:
            return False
        whole = not self._elsewhere and self._watch.sums_only
        return whole and not self._faults.spoils(self.step)

    def _whole_replica(self) -> None:
        """Raises `RuntimeError` where others of the replica were missing while the shard was computed."""
        assert self._replica is not None
        try:
            finish(self._device)
            broken = self._replica.together.broken
        except RuntimeError as error:
            broken = str(error)
        if broken:
            self._reduction.lost()
            raise RuntimeError(broken)

    def _begin(self, shard: int) -> None:
        self._company.line.say(Progressed())
        if self._elsewhere:
            self._attached, fresh = self._watch.scratch(), True
        else:
            alone = self._replica is not None or (self._apart is None and self._watch.apart(shard))
            self._attached, fresh = self._reduction.begin(shard, apart=alone)
            if self._apart is None:
                self._watch.begins(shard, self._attached, fresh=fresh)
        # Programs that are guests, and other libraries, must find the gradient where it is to be from the start.
        own = self._replica is None and not self._watch.states_only
        self._layout.begin(self._attached, fresh=fresh, waits=own and self._device.type == "cpu")
        if self._plain and self._last(shard):
            self._reduction.ahead(self._company.together[1], self._owners, self._company.column)
        self._loose = self._plain and self._reduction.loose
        self._faults.gradient, self._faults.shard = self._attached, shard
        seed_all(self._seed, self.step, self._shown(shard))

    def _commit(self, number: int) -> bool:
        """Bring the gradients together, and agree; gives whether they are to be left out. Raises `Changed`."""
        control, group, epoch = self._company.together
        if self._reduced is None:
            control.enter("reduce")
            self._faults.at("reduce", number)
            self._reduced = self._reduction.reduce(group, self._owners, self._company.column)
            self._faults.gradient = self._reduced
        self._faults.at("vote", number)
        loss, sent_bytes = self._layout.loss(self._reduced), self._reduction.sent_bytes
        control.say(Done(epoch, number, self._vote(number), loss, sent_bytes))
        self._faults.at("voted", number)
        committed = control.expect(Committed, epoch, self._outgoing.start)
        self._faults.at("apply", number)
        if committed.owners:
            self._own(committed.owners)
        self._total = committed.total
        return committed.skip

    def _own(self, owners: tuple[int, ...]) -> None:
        self._owners = self._watch.owners = self._company.owned(owners)

    def _vote(self, number: int) -> Vote:
        """What this worker says of its state, and of its part of the gradient."""
        vote = self._watch.vote(number)
        if self._replica is None or self._replica.size == 1:
            return vote
        assert self._reduced is not None
        square = self._layout.square(self._reduced)
        loss = self._layout.loss(self._reduced) if self._replica.ends else None
        return replace(vote, part=Part(square if math.isfinite(square) else None, loss))

    def _apply(self, *, skip: bool) -> None:
        """Make the step that was agreed upon, or leave it out."""
        assert self._reduced is not None
        self._company.line.enter("apply")
        if skip:
            self._advance.skip()
        else:
            if self._rounds is not None:
                self._rounds.tries(self._reduction)
            self._layout.drop()
            self._watch.applies()
            self._advance.make(self._reduced, self._total)
            self._watch.applied(self._reduced)
        self._reduction.reset()
        self._outgoing.add(self._reduced, skipped=skip)
        made, self._reduced = self._reduced, None
        self._keeping.made(self._company.fellows, None if skip else made)
        self._company.line.enter("compute")

    @property
    def _apart(self) -> Rounds | None:
        """Where workers train by themselves now: their rounds."""
        return self._rounds if self._rounds is not None and self._rounds.apart else None

    def _turn(self) -> None:
        """After the last step: do what is due with the others, whoever of them goes."""
        try:
            self._company.up_to_date(self)
            self._take_turn(ends=True)
        except Changed:
            return
        except RuntimeError as error:
            self._company.broke(error)

    def _take_turn(self, *, ends: bool) -> None:
        if self._rounds is not None:
            self._owners = self._rounds.turn(*self._company.together, self._owners, ends=ends)

    # What is under way when members change.

    def halt(self, free: Callable[[], None]) -> None:
        if self._rounds is not None:
            self._rounds.halt(free)
        self._reduction.halt(free)

    def report(self, *, again: bool) -> tuple[bool, Sequence[int], Sequence[int], int]:
        if again:
            self._reduced = None  # what the guilty one gave is in it
        if self._apart is not None:
            return self._apart.holds, (), (), self._apart.steps
        return self._reduced is not None, self._reduction.held, self._keeping.kept, 0

    def settle(self, plan: Planned, *, holds: bool) -> None:
        made = holds and plan.step == self._advance.step + 1
        if self._apart is not None:
            self._apart.settle(committed=made)
        elif made:
            self._total = plan.total
            self._apply(skip=plan.skipped)  # others were told of the commit before this worker was
        else:
            self._reduced = None  # not all may hold it: it is made again by all

    def back(self, step: int) -> None:
        self._keeping.back(step)
        self._reduction.forget()
        self._reduced = None

    def restored(self, step: int) -> None:
        self._reduction.reset()
        self._reduced = None
        self._advance.filled(step)

    def goes_on(self, plan: Planned) -> None:
        if self._job.worker in plan.forget:
            self._reduction.forget()
        self._watch.planned(plan, self._company.column, parts=bool(plan.teams))
        self._reduction.keep(max(1, self._watch.steps_kept))
        self._reduction.added_by([*map(self._company.column.index, plan.adders)])
        self._own(plan.owners)
        if self._rounds is not None:
            self._rounds.goes_on(plan.apart)
