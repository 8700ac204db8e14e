"""A plain DDP script as it is: what it calls of torch.distributed stands for a job whose members change.

A rank is a shard here: the script sees as many as the job has workers when all is well, and its batches are those
that it would have under torchrun. What cannot be kept when a worker falls is refused where the script asks for it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from cordee.core.errors import UsageError
from cordee.train.guest.batches import Batches
from cordee.train.guest.duet import Duet
from cordee.train.guest.plain import is_plain, ranks

COLLECTIVES = (
    *("all_reduce", "reduce", "broadcast", "all_gather", "all_gather_into_tensor", "gather"),
    *("scatter", "reduce_scatter", "reduce_scatter_tensor", "all_to_all", "all_to_all_single"),
    *("send", "recv", "isend", "irecv", "barrier", "monitored_barrier", "new_group"),
    *("broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list"),
)
INSTEAD = 'write the loop with ct.Training instead: docs/train.md, "The script"'


class Guest:
    """One script."""

    def __init__(self) -> None:
        self.begun = False
        self.backend = ""
        """That the script asked for."""
        self.rank = int(os.environ["RANK"])
        self.world = int(os.environ["WORLD_SIZE"])
        self.optimizers: list[Optimizer] = []
        self.optimizer: Optimizer | None = None
        """That of the model."""
        self.schedulers: list[LRScheduler] = []
        self.model: nn.Module | None = None
        self.syncs = True
        self.duet: Duet | None = None
        self.batches: Batches | None = None
        self.loader: DataLoader[Any] | None = None

    @property
    def replays(self) -> bool:
        return self.batches is not None and self.batches.replays

    def training(self) -> Duet:
        """What it trains, once its first batch is wanted. Raises `UsageError`."""
        if self.duet is None:
            model = self.model
            assert model is not None
            own = {id(p) for p in model.parameters()}
            found = [o for o in self.optimizers if own & {id(p) for p in _parameters(o)}]
            if len(found) != 1:
                raise UsageError(
                    f"the model has {len(found)} optimizers: a plain script must have one; {INSTEAD}"
                )
            self.optimizer = found[0]
            schedulers = [s for s in self.schedulers if s.optimizer is found[0]]
            self.duet = Duet(model, found[0], self.world, schedulers)
        return self.duet

    def watch(self, optimizer: Optimizer) -> None:
        """An optimizer is made: see when it is stepped."""
        self.optimizers.append(optimizer)
        step = optimizer.step

        def stepped(_: Optimizer, closure: Any = None) -> Any:
            if self.optimizer is not optimizer:
                return step(closure)
            if self.replays:
                return None
            if closure is not None:
                refuse("an optimizer with a closure")
            if self.duet is None or not self.duet.reduced:
                refuse("optimizer.step() without a loss.backward() before it")
            self.duet.steps()
            return step()

        # A method: schedulers look for what it is bound to.
        optimizer.step = MethodType(stepped, optimizer)  # type: ignore[method-assign]

    def backward(self, loss: float) -> None:
        """A backward pass has ended."""
        if self.batches is not None:
            self.batches.used = True
        if not self.syncs or self.replays or self.model is None or not self.model.training:
            return
        duet = self.duet
        if duet is None:
            refuse("a loss of data that come from no DataLoader with a DistributedSampler")
        if duet.reduced:
            refuse("two backward passes for one optimizer.step() without model.no_sync()")
        duet.reduce(loss)

    def epoch(self, loader: "DataLoader[Any]", rewind: Callable[..., Any]) -> Iterator[Any]:
        """The batches of an epoch."""
        duet = self.training()
        if self.loader is not None and self.loader is not loader:
            refuse("a second DataLoader with a DistributedSampler for training")
        if self.batches is None:
            self.loader, self.batches = loader, Batches(loader, rewind)
        whole = False
        try:
            yield from self.batches.epoch(duet)
            whole = True
        finally:
            left = not whole and not self.batches.peeked
            if left and any(member >= self.world for member in duet.members):
                refuse("a loop that leaves an epoch before its end, after a worker has joined")

    def end(self) -> None:
        """The script has come to its end."""
        if self.duet is not None:
            self.duet.end()
            self.duet = None


def refuse(what: str) -> NoReturn:
    """Raises `UsageError`: that cannot be kept when a worker falls."""
    raise UsageError(f"this script has {what}, which cannot go on when a worker falls: {INSTEAD}")


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def install(guest: Guest) -> None:
    """Put stand-ins in place, before the script imports them."""
    _groups(guest)
    for name in COLLECTIVES:
        setattr(dist, name, _refusing(f"a call of torch.distributed.{name}"))
    parallel = _parallel(guest)
    torch.nn.parallel.DistributedDataParallel = parallel  # type: ignore[misc, assignment]
    torch.nn.parallel.distributed.DistributedDataParallel = parallel  # type: ignore[misc, assignment]
    _seen(Optimizer, guest.watch)
    _seen(LRScheduler, guest.schedulers.append)
    _loaders(guest)
    _backward(guest)
    _scalers()


def _groups(guest: Guest) -> None:
    def begin(backend: object = None, *_: object, **__: object) -> None:
        guest.begun, guest.backend = True, str(backend or "gloo")

    def end(*_: object) -> None:
        guest.end()
        guest.begun = False

    dist.init_process_group, dist.destroy_process_group = begin, end  # type: ignore[assignment]
    dist.is_initialized = lambda: guest.begun
    dist.is_torchelastic_launched = lambda: True
    dist.get_rank = lambda group=None: guest.rank
    dist.get_world_size = lambda group=None: guest.world
    dist.get_backend = lambda group=None: dist.Backend(guest.backend)


def _refusing(what: str) -> Callable[..., NoReturn]:
    def refused(*_: object, **__: object) -> NoReturn:
        refuse(what)

    return refused


def _parallel(guest: Guest) -> type[nn.Module]:
    class DistributedDataParallel(nn.Module):
        """Stands for PyTorch's: gradients are those of all when a backward pass ends."""

        def __init__(self, module: nn.Module, *_: object, **settings: object) -> None:
            super().__init__()
            if guest.model is not None:
                refuse("two models in DistributedDataParallel")
            if settings.get("process_group") is not None:
                refuse("DistributedDataParallel with a process group of its own")
            self.module = module
            guest.model = self

        def forward(self, *given: Any, **named: Any) -> Any:
            return self.module(*given, **named)

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            before, guest.syncs = guest.syncs, False
            try:
                yield
            finally:
                guest.syncs = before

        register_comm_hook = _refusing("a communication hook")
        join = _refusing("DistributedDataParallel.join")

    return DistributedDataParallel


def _seen(kind: type[Any], see: Callable[[Any], None]) -> None:
    """Call with each one that is made, before others hold on to its methods."""
    begin = kind.__init__

    def made(self: Any, *given: Any, **named: Any) -> None:
        see(self)
        begin(self, *given, **named)

    kind.__init__ = made


def _loaders(guest: Guest) -> None:
    rewind = DataLoader.__iter__

    def iterate(self: "DataLoader[Any]") -> Iterator[Any]:
        if (
            isinstance(self.sampler, DistributedSampler)
            and guest.model is not None
            and guest.model.training
        ):
            return guest.epoch(self, rewind)
        return rewind(self)

    DataLoader.__iter__ = iterate  # type: ignore[method-assign, assignment]


def _backward(guest: Guest) -> None:
    backward = Tensor.backward

    def passed(self: Tensor, *given: Any, **named: Any) -> None:
        backward(self, *given, **named)  # type: ignore[no-untyped-call]
        if threading.current_thread() is threading.main_thread():
            guest.backward(float(self.detach()) if self.numel() == 1 else float("nan"))

    Tensor.backward = passed  # type: ignore[method-assign]


def _scalers() -> None:
    """Scales of gradients that a later worker had not would be in their sum."""
    begin = GradScaler.__init__

    def made(self: GradScaler, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        if self.is_enabled():
            refuse("a GradScaler, whose scale a later worker would not know")

    GradScaler.__init__ = made  # type: ignore[method-assign]


def adopted(script: str, environment: Mapping[str, str] = os.environ) -> Guest | None:
    """Make a plain DDP script one of this job; None where it is none, or there is no job."""
    if not environment.get("CORDEE_TRAIN_COORDINATOR") or not is_plain(script):
        return None
    os.environ.update(ranks(environment))
    guest = Guest()
    install(guest)
    return guest
