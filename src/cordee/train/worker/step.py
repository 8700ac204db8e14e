"""One step of a training, as its script sees it."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor


class Steps(Protocol):
    """The training that makes them."""

    @property
    def loss(self) -> float: ...

    @property
    def leads(self) -> bool: ...

    @property
    def epoch(self) -> int: ...

    def shards_of(self, number: int) -> Iterator[int]: ...

    def backward(self, loss: Tensor) -> None: ...

    def computed(self, loss: Tensor | None = None) -> None: ...


class Step:
    """One step: what to go through, and what came of it."""

    def __init__(self, training: Steps, number: int) -> None:
        self.number = number
        self._training = training

    def __iter__(self) -> Iterator[int]:
        """The shards to compute; when they end, the step is made."""
        return self._training.shards_of(self.number)

    def backward(self, loss: Tensor) -> None:
        """The backward pass of one shard's loss."""
        self._training.backward(loss)

    def computed(self, loss: Tensor | None = None) -> None:
        """A shard's backward pass was made by the program itself, as pipelines do.

        `loss`: where this worker has it.
        """
        self._training.computed(loss)

    @property
    def loss(self) -> float:
        """The mean loss over all shards of the step, once it is made."""
        return self._training.loss

    @property
    def epoch(self) -> int:
        """Another number whenever the members are others: what they have agreed upon among themselves is to be made anew."""
        return self._training.epoch

    @property
    def leads(self) -> bool:
        """Whether this worker is the one that prints and writes."""
        return self._training.leads
