"""Loops of other libraries: what they have in common when they train with others."""

import os
from collections.abc import Iterator
from types import MethodType
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from cordee.core.errors import UsageError
from cordee.train.guest.batches import Batches
from cordee.train.guest.duet import Duet


def check_scaler(scaler: Any, instead: str) -> None:
    """Raises `UsageError` where gradients are scaled: by what, a worker that comes later would not know."""
    if scaler is not None and scaler.is_enabled():
        raise UsageError(f"gradients are scaled, by what a later worker would not know: {instead}")


class Loop:
    """One library's loop in this worker."""

    def __init__(self) -> None:
        self._leads = not int(os.environ.get("CORDEE_TRAIN_RANK") or 0)
        self.shards = int(os.environ.get("CORDEE_TRAIN_WORKERS") or 1)
        self.duet: Duet | None = None
        self.batches: Sharded | None = None

    @property
    def writes(self) -> bool:
        """Whether this is the worker that saves."""
        if self.duet is not None:
            self._leads = self.duet.leads
        return self._leads

    @property
    def replays(self) -> bool:
        """Whether what is computed has no effect: the loop only catches up."""
        return self.batches is not None and self.batches.replays

    def begin(self, model: nn.Module, optimizer: Optimizer, schedulers: list[LRScheduler]) -> None:
        """The loop has all that it trains with."""
        if self.duet is not None:
            return
        step = optimizer.step

        def stepped(_: Optimizer, closure: Any = None) -> Any:
            if self.replays:
                return closure() if closure is not None else None
            return step(closure)

        stepped._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
        optimizer.step = MethodType(stepped, optimizer)  # type: ignore[method-assign]
        self.duet = Duet(model, optimizer, self.shards, schedulers)

    def reduce(self, loss: float) -> None:
        """A step's backward passes are done."""
        if self.batches is not None:
            self.batches.used()
        if not self.replays:
            assert self.duet is not None
            self.duet.reduce(loss)

    def end(self) -> None:
        """The loop has ended. Waits for those of the others."""
        if self.duet is not None:
            self._leads = self.duet.leads
            self.duet.end()
            self.duet = None

    def sharded(self, loader: "DataLoader[Any]", seed: int) -> "Sharded":
        """The loader's data, for as many shards as there are. Raises `UsageError`."""
        self.batches = Sharded(self, loader, seed)
        return self.batches


class Sharded:
    """Takes the place of a loader."""

    def __init__(self, loop: Loop, loader: "DataLoader[Any]", seed: int) -> None:
        if loader.batch_size is None:
            raise UsageError("the training data must come from a DataLoader with batch_size")
        shuffles = type(loader.sampler).__name__ != "SequentialSampler"
        self._sampler: DistributedSampler[Any] = DistributedSampler(
            loader.dataset,
            num_replicas=loop.shards,
            rank=0,
            shuffle=shuffles,
            seed=seed,
            drop_last=loader.drop_last,
        )
        self._loader = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size,
            sampler=self._sampler,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            drop_last=loader.drop_last,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
        )
        self._loop = loop
        self._batches = Batches(self._loader, DataLoader.__iter__)
        self._epoch = 0
        self.dataset = loader.dataset
        self.batch_size = loader.batch_size

    @property
    def replays(self) -> bool:
        return self._batches.replays

    def used(self) -> None:
        """Something was computed with a batch."""
        self._batches.used = True

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        assert self._loop.duet is not None, "the loop has not begun"
        self._sampler.set_epoch(self._epoch)
        self._epoch += 1
        yield from self._batches.epoch(self._loop.duet)
