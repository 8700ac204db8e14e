"""Rounds of a worker with weak links: what it sends and takes in the background while it trains by itself.

A round is committed as a step is: when every member holds what all have sent. One that is broken off is made again
with what was to be sent, by the members that are left.
"""

import threading
import time
from collections.abc import Callable

import torch
from torch import Tensor

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import ALL, Said, fragment_of, weights
from cordee.train.wire import Committed, Done, Told
from cordee.train.worker.advance import Advance
from cordee.train.worker.apart import Apart
from cordee.train.worker.control import Changed, Control
from cordee.train.worker.drift import Drift
from cordee.train.worker.faults import Faults
from cordee.train.worker.groups import Group
from cordee.train.worker.handover import Outgoing
from cordee.train.worker.outer import part_of, said_in
from cordee.train.worker.reduction import Fast, Reduction

LOOK_S = 0.05


class Exchange:
    """One exchange, in a thread of its own."""

    def __init__(self, group: Group, part: Tensor, held: Callable[[float], None]) -> None:
        """`held` is called, in the thread, when all parts are there, with how long that took."""
        self.parts: list[Tensor] = []
        self.error: RuntimeError | None = None
        self._group, self._part, self._held = group, part, held
        self._thread = threading.Thread(target=self._run, name="train_exchange", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wait(self, most_s: float | None = None) -> None:
        self._thread.join(most_s)

    def _run(self) -> None:
        began_s = time.monotonic()
        try:
            got = self._part.new_empty(self._group.size * self._part.numel())
            self._group.all_gather(self._part, got)
        except RuntimeError as error:
            self.error = error
            return
        self.parts = list(got.split(self._part.numel()))
        self._held(time.monotonic() - began_s)


class Rounds:
    """Those of one worker."""

    def __init__(self, apart: Apart, outgoing: Outgoing, faults: Faults) -> None:
        self._apart, self._outgoing, self._faults = apart, outgoing, faults
        self._drift = Drift(apart)
        self._part: Tensor | None = None
        """What this worker sends in the round that is under way."""
        self._then: Tensor | None = None
        """Where its parameters were when that was made."""
        self._exchange: Exchange | None = None
        self._lost: Tensor | None = None
        self._shards = [0] * apart.outer.cadence.fragments
        self._losses: list[float] = []
        self._loss = 0.0
        self._distance = self._exchange_s = 0.0
        self._began_s = time.monotonic()
        self._own_steps = 0
        self._sent_bytes = 0

    @property
    def apart(self) -> bool:
        """Whether workers train by themselves now."""
        return self._apart.outer.on

    def over(self, count: int) -> bool:
        """Whether, after so many steps, all workers have the same parameters."""
        return self._apart.over(count)

    @property
    def steps(self) -> int:
        """From one exchange of a fragment to the next; 0: workers do not train by themselves."""
        return self._apart.outer.steps

    def tries(self, reduction: Reduction) -> None:
        """A step is about to be made together: see now and then how far one of its own would be from it."""
        if self._drift.due and reduction.held:
            assert isinstance(reduction, Fast)
            self._drift.tries(reduction.mean())

    def goes_on(self, steps: int) -> None:
        """An epoch goes on with workers that train by themselves; 0: as before."""
        if steps and not self.apart:
            self._apart.begin(steps)
            self._outgoing.again()

    @property
    def holds(self) -> bool:
        """Whether this worker holds what all have sent."""
        return self._exchange is not None and bool(self._exchange.parts)

    def halt(self, free: Callable[[], None]) -> None:
        """The members change: what is under way between them ends."""
        if self._exchange is not None:
            if self._exchange.alive:
                free()
            self._exchange.wait()

    def settle(self, *, committed: bool) -> None:
        """What was under way when the members changed is done, or exchanged anew."""
        if committed:
            self.take()
        self._exchange = None

    def step(self, reduction: Reduction) -> None:
        """Make a step from the shards that this worker has computed. Raises `UsageError` where it has none."""
        assert isinstance(reduction, Fast)
        shards = len(reduction.held)
        if shards == 0:
            raise UsageError(
                "a worker has no shard of the batch: mode local needs one for each worker"
            )
        self._apart.own(reduction.mean())
        reduction.reset()
        self._shards = [count + shards for count in self._shards]
        self._losses.append(self._apart.loss)
        self._own_steps += 1

    def turn(
        self, control: Control, group: Group, epoch: int, owners: tuple[int, ...], *, ends: bool
    ) -> tuple[int, ...]:
        """Between two steps: begin what is due, and take what has come; gives who owns which shard now.

        `ends`: no more steps are made. Raises `Changed`, or `RuntimeError` where an exchange failed.
        """
        apart, outer = self._apart, self._apart.outer
        self._drift.tell(control)
        if not outer.on:
            if apart.together or ends:
                return owners
            apart.begin()
        if apart.fresh:
            apart.start_from_agreed()
        while not outer.closed:
            if self._part is None:
                if outer.made < outer.due and not ends:
                    return owners
                fragment = fragment_of(apart.step - outer.first, outer.cadence)
                self._begin(ALL if outer.made < outer.due else fragment)
            if self._exchange is None:
                self._start(control, group, epoch)
            if outer.made < outer.due + outer.every and not ends:
                return owners
            owners = self._end(control, epoch) or owners
        return owners

    def take(self) -> None:
        """The round is committed: make the outer step."""
        apart, outer = self._apart, self._apart.outer
        exchange, then = self._exchange, self._then
        assert exchange is not None
        assert then is not None
        said, self._distance = outer.merge(exchange.parts)
        fragment = said[0].fragment
        outer.add(fragment, outer.agreed(fragment) - then)
        if outer.closed:
            outer.settle()
        apart.step += 1
        self._outgoing.add(exchange.parts, skipped=False)
        self._part = self._then = self._exchange = None
        shares = weights(said)
        apart.loss = sum(share * one.loss for share, one in zip(shares, said, strict=True) if share)

    def _begin(self, fragment: int) -> None:
        """Make what this worker sends."""
        outer = self._apart.outer
        self._then = outer.here(fragment)
        way = outer.agreed(fragment) - self._then
        lost = self._kept_back(fragment, way)
        shards = max(self._shards) if fragment == ALL else self._shards[fragment]
        now_s = time.monotonic()
        step_s = (now_s - self._began_s) / self._own_steps if self._own_steps else 0.0
        if self._losses:
            self._loss = sum(self._losses) / len(self._losses)
        said = Said(fragment, shards, self._distance, self._exchange_s, step_s, self._loss)
        self._part, lost[:] = part_of(said, way + lost)
        self._began_s, self._own_steps, self._losses = now_s, 0, []
        if fragment != ALL:
            self._shards[fragment] = 0

    def _kept_back(self, fragment: int, way: Tensor) -> Tensor:
        """What four bits have lost of this fragment before."""
        if self._lost is None:
            self._lost = torch.zeros(self._apart.outer.numbers, device=way.device)
        return self._lost[self._apart.outer.range_of(fragment)]

    def _start(self, control: Control, group: Group, epoch: int) -> None:
        number, part = self._apart.step, self._part
        assert part is not None
        self._faults.at("reduce", number)
        sent = part.numel() * (group.size - 1)

        def held(took_s: float) -> None:
            self._exchange_s = took_s
            self._sent_bytes += sent
            self._faults.at("vote", number)
            control.say(Done(epoch, number))

        self._exchange = Exchange(group, part, held)

    def _end(self, control: Control, epoch: int) -> tuple[int, ...]:
        """Wait until all hold what all have sent; gives new owners of shards, if they move. Raises `Changed`, or `RuntimeError`."""
        exchange = self._exchange
        assert exchange is not None
        began_s = time.monotonic()
        control.enter("reduce")
        while exchange.alive:
            exchange.wait(LOOK_S)
            if control.pending is not None:
                raise Changed
            self._outgoing.start()
        if exchange.error is not None:
            raise exchange.error
        self._faults.at("voted", self._apart.step)
        committed = control.expect(Committed, epoch, self._outgoing.start)
        waited_s = time.monotonic() - began_s
        self._faults.at("apply", self._apart.step)
        part = exchange.parts[0]
        self.take()
        control.enter("compute")
        self._tell(control, said_in(part).fragment, waited_s)
        return committed.owners

    def _tell(self, control: Control, fragment: int, waited_s: float) -> None:
        outer = self._apart.outer
        told: dict[str, str | int | float | bool | None] = {
            "round": self._apart.step - outer.first,
            "step": outer.made,
            "fragment": fragment,
            "steps": outer.steps,
            "apart": round(self._distance, 5),
            "exchange_s": round(self._exchange_s, 4),
            "waited_s": round(waited_s, 4),
            "sent_bytes": self._sent_bytes,
            "loss": round(self._apart.loss, 6),
            "skipped_steps": self._apart.skipped,
        }
        control.say(Told("exchanged", told))


def rounds_of(advance: Advance, outgoing: Outgoing, faults: Faults) -> Rounds | None:
    """Those of a worker that is to train by itself."""
    return Rounds(advance, outgoing, faults) if isinstance(advance, Apart) else None
