"""The batches of a loop: those that DistributedSampler gives each rank, for as many ranks as are computed here."""

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from cordee.core.errors import UsageError
from cordee.train.guest.duet import Duet


class Batches:
    """One loader of a loop, time after time."""

    def __init__(
        self, loader: "DataLoader[Any]", rewind: Callable[["DataLoader[Any]"], Any]
    ) -> None:
        """`rewind`: what iterates a loader as PyTorch does. Raises `UsageError` where it cannot be shared out."""
        if loader.batch_size is None or type(loader.sampler) is not DistributedSampler:
            raise UsageError(
                "the training data must come from a DataLoader with batch_size and a DistributedSampler: "
                "else what a lost worker had cannot be given to others"
            )
        self._loader, self._rewind = loader, rewind
        self._epoch = -1
        self.used = False
        """Whether anything was computed in this epoch."""
        self.peeked = False
        """Whether the last one was left with nothing computed: someone only looked at its first batch."""
        self.replays = False
        """Whether the loop only catches up: what it computes has no effect."""

    def epoch(self, duet: Duet) -> Iterator[Any]:
        """The batches of the next epoch; of one in which others are further, the rest.

        Which it is `DistributedSampler.set_epoch` says, for a script may begin at a later one; else they are counted.
        """
        sampler = self._loader.sampler
        assert isinstance(sampler, DistributedSampler)
        before = self._epoch
        self._epoch = max(self._epoch + 1, sampler.epoch)
        self.used = self.peeked = False
        with closing(self._batches(duet)) as batches:
            try:
                yield from batches
            except GeneratorExit:
                if not self.used:
                    self._epoch, self.peeked = before, True
                raise

    def _batches(self, duet: Duet) -> Generator[Any]:
        parts = self._parts(duet)
        count = min(len(part) for part in parts)
        if duet.behind(self._epoch):
            yield from self._replay(duet, parts)
            return
        at = duet.place.batch if self._epoch == duet.place.epoch else 0
        duet.place.count = count
        duet.enter()
        mine: tuple[int, ...] = ()
        batches: Iterator[Any] = iter(())
        step = -1
        while at < count:
            turn = duet.turn()
            if turn.shards != mine:
                mine = turn.shards
                batches = self._made(_joined(parts, mine, range(at, count)))
            batch = next(batches)
            at += 1
            place, before = duet.place, replace(duet.place)
            place.each, step = (place.each + 1 if turn.step == step else 1), turn.step
            place.epoch, place.batch = self._epoch, at
            try:
                yield batch
            except GeneratorExit:
                if not self.used:
                    duet.place = before
                raise

    def _replay(self, duet: Duet, parts: Sequence[Sequence[list[int]]]) -> Iterator[Any]:
        """A step's batches, so that a loop that expects some finds them; they have no effect."""
        self.replays = True
        try:
            with duet.without_effect():
                yield from self._made(parts[0][: duet.place.each])
        finally:
            self.replays = False

    def _parts(self, duet: Duet) -> list[list[list[int]]]:
        """Of each rank the batches of this epoch, as indices."""
        sampler, size = self._loader.sampler, self._loader.batch_size
        assert isinstance(sampler, DistributedSampler)
        assert size is not None
        parts = []
        for rank in range(sampler.num_replicas):
            one = copy.copy(sampler)
            one.rank = rank
            indices = list(one)
            batches = [indices[at : at + size] for at in range(0, len(indices), size)]
            if self._loader.drop_last and batches and len(batches[-1]) < size:
                batches.pop()
            parts.append(batches)
        return parts

    def _made(self, indices: Sequence[list[int]]) -> Iterator[Any]:
        loader = self._loader
        return iter(
            self._rewind(
                DataLoader(
                    loader.dataset,
                    batch_sampler=indices,
                    num_workers=loader.num_workers,
                    collate_fn=loader.collate_fn,
                    pin_memory=loader.pin_memory,
                    worker_init_fn=loader.worker_init_fn,
                    multiprocessing_context=loader.multiprocessing_context,
                    prefetch_factor=loader.prefetch_factor,
                )
            )
        )


def _joined(
    parts: Sequence[Sequence[list[int]]], shards: Sequence[int], numbers: range
) -> list[list[int]]:
    """Batches with the samples of several ranks, one rank's after another's."""
    return [[index for shard in shards for index in parts[shard][at]] for at in numbers]
