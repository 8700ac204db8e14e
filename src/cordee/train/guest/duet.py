"""A loop of someone else and the steps of a job, each in a thread of its own, of which one runs at a time.

The loop asks whose shards it computes (`turn`), gives its gradients and gets the mean over all shards (`reduce`), and
steps its optimizer as it likes. What a lost worker had of a step is left out of that step's mean; from the next one
on its shards are computed by others.
"""

import json
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cordee.core.errors import UsageError
from cordee.train.worker.job import job_of
from cordee.train.worker.state import Trained, Value, apply_settings, settings
from cordee.train.worker.training import Training


@dataclass(frozen=True, slots=True)
class Turn:
    """The next step, and the shards of it that are to be computed here."""

    step: int
    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reduced:
    """Gradients are the mean over all shards now."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Others are in this epoch already."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no training any more."""

    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Given:
    """The loop has computed its shards."""

    loss: float


@dataclass(frozen=True, slots=True)
class Stepped:
    """The loop has stepped its optimizer, and is at its next batch."""


@dataclass(frozen=True, slots=True)
class Caught:
    """The loop is in the epoch that others are in."""


@dataclass(frozen=True, slots=True)
class Over:
    """The loop makes no more steps."""


@dataclass(slots=True)
class Place:
    """Where a loop is: others that come later go on there."""

    epoch: int = 0
    batch: int = 0
    each: int = 1
    """So many batches are a step."""
    count: int = 0
    """So many batches are an epoch."""

    @property
    def ahead(self) -> "Place":
        """Where the next batch is."""
        if self.count and self.batch >= self.count:
            return Place(self.epoch + 1, 0, self.each, self.count)
        return self


M = TypeVar("M", Turn, Reduced, Ended)


class Duet:
    """One model that a loop trains with others."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        shards: int,
        schedulers: Sequence[LRScheduler] = (),
    ) -> None:
        """Raises `UsageError` where the job has a mode for which a loop must be `ct.Training`'s."""
        mode = job_of().mode
        if mode not in {None, "fast"}:
            raise UsageError(f"--mode {mode}: only a script with ct.Training can do that")
        self.place = Place()
        self._schedulers = schedulers
        self._to_loop: queue.SimpleQueue[Turn | Reduced | Behind | Ended] = queue.SimpleQueue()
        self._to_steps: queue.SimpleQueue[Given | Stepped | Caught | Over] = queue.SimpleQueue()
        self._optimizer = _Stand(optimizer, self._hand_over)
        self._training = Training(
            model, cast(Optimizer, self._optimizer), shards=shards, mode="fast"
        )
        self._training.follows(self._ready)
        self._trained = Trained(model, optimizer)
        self._caught = self._until = 0
        self._now: Turn | None = None
        self.reduced = False
        """Whether gradients are those of all, and the optimizer is to be stepped."""
        self._given = False
        self._taking_over, self._entered = True, False
        threading.Thread(target=self._run, name="train_duet", daemon=True).start()

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of the workers that take part."""
        return self._training.members

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes, of those that take part."""
        return self._training.leads

    @property
    def step(self) -> int:
        """How many steps are made."""
        return self._training.step

    # What the loop says, in its own thread.

    def behind(self, epoch: int) -> bool:
        """Whether others are further than this epoch of the loop, so that it has nothing to do in it."""
        while self._now is None:
            if epoch < self._until:
                return True
            if self._until:
                self._until = 0
                self._to_steps.put(Caught())
            message = self._to_loop.get()
            if isinstance(message, Behind):
                self._until = message.epoch
            elif isinstance(message, Turn):
                self._now = message
            else:
                self._over(message)
        return epoch < self.place.epoch

    def enter(self) -> None:
        """The loop is where the others are: what it has done to settings on the way does not count."""
        if self._entered:
            return
        self._entered = True
        told = self._optimizer.told
        for scheduler, state in zip(self._schedulers, told["schedules"], strict=False):
            scheduler.load_state_dict(json.loads(state))
        if told["settings"]:
            apply_settings(self._trained, json.loads(told["settings"]))

    @contextmanager
    def without_effect(self) -> Iterator[None]:
        """What the loop does meanwhile leaves the model as it is."""
        buffers = [(buffer, buffer.clone()) for buffer in self._trained.model.buffers()]
        yield
        for buffer, before in buffers:
            buffer.copy_(before)

    def turn(self) -> Turn:
        """What to compute next; the same until that is reduced. Waits until this worker takes part."""
        if self.reduced:
            self.reduced, self._now = False, None
            self._to_steps.put(Stepped())
        if self._now is None:
            self._now = self._hear(Turn)
        return self._now

    def reduce(self, loss: float) -> None:
        """Gradients are of this turn's shards, and become the mean over all. `loss`: over its shards."""
        turn = self.turn()
        views = self._optimizer.views
        for parameter, view in zip(self._optimizer.own, views, strict=True):
            if parameter.grad is None:
                view.zero_()
            elif parameter.grad is not view:
                view.copy_(parameter.grad)
            view.mul_(len(turn.shards))
            parameter.grad = view
        self._to_steps.put(Given(loss))
        self._hear(Reduced)
        self.reduced = True

    def steps(self) -> None:
        """The optimizer is about to be stepped: what the loop made of its gradients is kept."""
        for parameter, view in zip(self._optimizer.own, self._optimizer.views, strict=True):
            if parameter.grad is not view and parameter.grad is not None:
                view.copy_(parameter.grad)

    def end(self) -> None:
        """The loop is over. Waits until those of all others are."""
        self.turn()
        self._to_steps.put(Over())
        self._hear(Ended)

    def _hear(self, kind: type[M]) -> M:
        message = self._to_loop.get()
        if not isinstance(message, kind) or getattr(message, "error", None) is not None:
            self._over(message)
        return message

    def _over(self, message: object) -> NoReturn:
        assert isinstance(message, Ended), message
        raise message.error or SystemExit("cordee train: the job is over")

    # What the steps say, in theirs.

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._make_steps()
            for _ in self._training.steps(self._training.step):
                pass  # it only waits for the others
        except BaseException as found:  # noqa: BLE001 - the loop raises it
            error = found
        self._to_loop.put(Ended(error))

    def _ready(self) -> bool:
        """Whether the loop is in the epoch in which the others are; if not, it gets there now."""
        epoch: int = self._optimizer.told["epoch"]
        if epoch <= self._caught:
            return True
        self.place.each = self._optimizer.told["each"]
        self._to_loop.put(Behind(epoch))
        self._to_steps.get()
        self._caught = epoch
        return False  # meanwhile more may have come

    def _make_steps(self) -> None:
        for step in self._training.steps(sys.maxsize):
            for number, _ in enumerate(step):
                if number > 0:
                    continue  # it is in what the loop gave, or was a lost worker's: left out
                if self._taking_over:
                    told = self._optimizer.told
                    self.place = Place(told["epoch"], told["batch"], told["each"])
                    self._taking_over = False
                mine = self._training.mine
                self._optimizer.attached()
                self._to_loop.put(Turn(step.number, mine))
                given = self._to_steps.get()
                if not isinstance(given, Given):
                    return
                self._given = True
                step.backward(self._optimizer.share(given.loss, len(mine), self._training.shards))

    def _hand_over(self) -> None:
        """Gradients are reduced: the loop steps its optimizer with them."""
        if not self._given:
            self._optimizer.real()  # as others did: this worker is only fed
            return
        self._optimizer.mean()
        self._to_loop.put(Reduced())
        self._to_steps.get()
        self._given = False
        place = self.place.ahead
        told: dict[str, Value] = {
            "epoch": place.epoch,
            "batch": place.batch,
            "each": place.each,
            "schedules": [json.dumps(scheduler.state_dict()) for scheduler in self._schedulers],
            "settings": json.dumps(settings(self._trained)),
        }
        self._optimizer.told.update(told)
        self._training.note(told)


class _Stand:
    """Stands for the loop's optimizer: a step of it is one that the loop makes."""

    def __init__(self, optimizer: Optimizer, step: Callable[[], None]) -> None:
        self._optimizer, self.step = optimizer, step
        self.state = optimizer.state
        self.own = [p for g in optimizer.param_groups for p in g["params"] if p.requires_grad]
        self.views: list[Tensor] = []
        device = self.own[0].device
        self._count = nn.Parameter(torch.zeros((), device=device))
        # Its gradient is how many shards are in the sum: a lost worker's are not.
        self.told: dict[str, Any] = {
            "params": [self._count],
            "epoch": 0,
            "batch": 0,
            "each": 1,
            "schedules": [],
            "settings": "",
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the loop, and one with what others are to know."""
        return [*self._optimizer.param_groups, self.told]

    def real(self) -> None:
        """A step of the loop's own optimizer, which the loop does not see."""
        type(self._optimizer).step(self._optimizer)

    def attached(self) -> None:
        """Gradients go where they go now."""
        self.views = [cast(Tensor, parameter.grad) for parameter in self.own]

    def share(self, loss: float, count: int, shards: int) -> Tensor:
        """What stands for the loss of so many shards: its backward pass counts them."""
        return loss * count + shards * count * (self._count - self._count.detach())

    def mean(self) -> None:
        """The sum of gradients becomes their mean over the shards that are in it."""
        counted = cast(Tensor, self._count.grad)
        self.attached()
        torch._foreach_div_(self.views, counted.clone())
        counted.fill_(1.0)
