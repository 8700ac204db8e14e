"""What a worker says of its own numbers, so that members can be compared: docs/train.md, "Wrong silently"."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cordee.train.policy.trust import Checks, Norms, Odd, Opinion, Vote, other_for
from cordee.train.wire import Planned
from cordee.train.worker.advance import Advance
from cordee.train.worker.digest import digest
from cordee.train.worker.spread import part_of
from cordee.train.worker.undo import Undo

TURNS = 4
"""In `fast` mode so many steps compare all parameters, each a part of them."""
WHOLE_EVERY = 12
"""Steps after which what the optimizer keeps is compared, too: an error there shows in the parameters anyway."""


class Watch:
    """Looks at gradients of shards before they are added up, and at the state before each vote."""

    def __init__(self, worker: int, advance: Advance, *, exact: bool, shards: int) -> None:
        self._worker, self._advance, self._exact, self._shards = worker, advance, exact, shards
        self._checks = Checks()
        self._norms = Norms()
        self._undo = Undo(advance, WHOLE_EVERY)
        self.states_only = False
        """Whether no shard is looked at by itself."""
        self._members: Sequence[int] = ()
        self.owners: Sequence[int] = ()
        self._asked: list[int] = []
        self._redone: int | None = None
        self._scratch: list[Tensor] = []
        self._step = -1
        self._opinions: list[Opinion] = []
        self._chosen: int | None = None
        self._before: list[Tensor] = []
        self._sum_of = 0
        self._finite = True
        self._each = exact
        """Whether each shard is looked at, and not their sum alone."""
        self._fresh = True
        """Whether nothing is compared yet in this epoch."""

    @property
    def steps_kept(self) -> int:
        """So many gradients are needed for a while."""
        return self._undo.steps if self._two else 1

    def planned(self, plan: Planned, members: Sequence[int], *, parts: bool = False) -> None:
        """An epoch goes on so. `parts`: members have a part of each gradient; what that is like says little."""
        self._checks, self._members, self.owners = plan.checks, members, plan.owners
        if parts or self.states_only:
            self._checks = replace(plan.checks, shard_every=0, nonfinite="off")
        self._asked = [shard for worker, shard in plan.asks if worker == self._worker]
        if plan.restore or plan.back or not self._two:
            self._undo.forget()
        self._fresh = True
        self._redone = self._undo.again(self._digest) if plan.redo else None
        self._new_step()

    def wanted(self) -> int | None:
        """A shard that this worker is to compute although it is another's, if there is one."""
        if self._asked:
            return self._asked[0]
        self._new_step()
        chosen = self._chosen
        if chosen is None or any(opinion.shard == chosen for opinion in self._opinions):
            return None
        other = other_for(self._step, self.owners[chosen], self._members)
        return chosen if other == self._worker else None

    def scratch(self) -> list[Tensor]:
        """Buffers for a shard of another."""
        if not self._scratch:
            self._scratch = self._advance.layout.buffers()
        return self._scratch

    def computed(self, shard: int) -> None:
        """A shard of another is in the buffers for it."""
        if shard in self._asked:
            self._asked.remove(shard)
        norm = self._norm(self._scratch)
        # What is usual is not learnt from it: it is odd, or counted by its owner.
        self._add(shard, self._scratch, norm, "nonfinite" if norm is None else "")
        if not self._asked:
            self._scratch = []

    def apart(self, shard: int) -> bool:
        """Whether the gradient of a shard is looked at by itself."""
        self._new_step()
        return self._exact and (shard == self._chosen or self._checks.nonfinite != "off")

    @property
    def sums_only(self) -> bool:
        """Whether, of shards that are added up, nothing but their sum is looked at."""
        self._new_step()
        return self._exact or not self._each

    def begins(self, shard: int, buffers: Sequence[Tensor], *, fresh: bool) -> None:
        """A shard of its own is about to be computed into buffers; `fresh`: instead of what is in them."""
        self._new_step()
        if not self._exact and shard == self._chosen:
            before = torch.zeros_like if fresh else torch.clone
            self._before = [before(buffer) for buffer in buffers]

    def ends(self, shard: int, buffers: Sequence[Tensor], *, last: bool) -> bool:
        """It is computed, and about to be added to the others; `last`: those of this worker are all there then.

        False where their sum is odd: they are to be computed again, and each looked at.
        """
        if shard == self._chosen and self._before:
            buffers = [now - before for now, before in zip(buffers, self._before, strict=True)]
            self._before = []
            self._add(shard, buffers, self._norm(buffers), "")
        elif self._checks.nonfinite != "off" and self._each:
            self._look(shard, buffers)
        elif self._checks.nonfinite != "off" and last and self._odd(buffers):
            self._each, self._sum_of = True, 0
            return False
        elif shard == self._chosen:
            self._add(shard, buffers, self._norm(buffers), "")
        self._sum_of += 1
        return True

    def vote(self, step: int) -> Vote:
        """What to say of this step."""
        self._new_step()
        compared = len(self._members) > 1 and self._checks.compares(step)
        state = self._digest() if compared else None
        return Vote(state, self._redone, tuple(self._opinions))

    def applies(self) -> None:
        """The step is about to be made."""
        self._redone = None
        if self._two and self._checks.state_every == 1:
            self._undo.keep(self._advance.step, known=self._whole)
        self._fresh = False

    def applied(self, gradient: Sequence[Tensor]) -> None:
        """It was made with this gradient."""
        self._undo.made(gradient)

    @property
    def _two(self) -> bool:
        """Whether there is no majority, and bits are worth a copy of the state."""
        return len(self._members) == 2 and self._exact

    @property
    def _turn(self) -> slice:
        """Which of the parameters are compared."""
        return slice(None) if self._exact else slice(self._step % TURNS, None, TURNS)

    @property
    def _whole(self) -> bool:
        """Whether all of the state is compared now. With two members it must be where their way back begins."""
        if self._two and (self._fresh or self._undo.steps == 1):
            return True
        return self._step % WHOLE_EVERY == 0

    def _new_step(self) -> None:
        if self._step != self._advance.step:
            self._step = self._advance.step
            self._opinions, self._sum_of, self._finite = [], 0, True
            self._chosen = self._checks.shard(self._step, self._shards)
            if len(self._members) < 2:
                self._chosen = None
            self._each = self._exact or self._chosen is not None

    def _odd(self, buffers: Sequence[Tensor]) -> bool:
        """Whether the sum of all shards of this worker is odd."""
        norm = self._norm(buffers)
        return self._norms.odd(norm / (self._sum_of + 1) if norm is not None else None) != ""

    def _look(self, shard: int, buffers: Sequence[Tensor]) -> None:
        """Whether a gradient is odd. In fast mode the buffers are the sum of all shards so far."""
        norm = self._norm(buffers)
        odd: Odd = ""
        if self._exact or self._sum_of == 0:
            odd = self._norms.odd(norm)
        elif norm is None:
            odd = "nonfinite" if self._finite else ""
        self._finite = self._finite and norm is not None
        if odd or (shard == self._chosen and self._exact):
            self._add(shard, buffers, norm, odd)

    def _add(self, shard: int, buffers: Sequence[Tensor], norm: float | None, odd: Odd) -> None:
        self._advance.layout.collect()
        bits = digest(buffers) if self._exact else 0
        self._opinions.append(Opinion(shard, bits, norm, odd))

    def _norm(self, buffers: Sequence[Tensor]) -> float | None:
        norm = float(self._advance.layout.norm(buffers))
        return norm if math.isfinite(norm) else None

    def _digest(self) -> int:
        trained = self._advance.trained
        tensors: list[Tensor] = list(trained.parameters)
        if not self._whole:
            return digest([part_of(tensor) for tensor in tensors[self._turn]])
        for parameter in trained.parameters:
            kept = trained.optimizer.state.get(parameter, {})
            tensors += [v for _, v in sorted(kept.items()) if isinstance(v, Tensor)]
        return digest([part_of(tensor) for tensor in tensors])
