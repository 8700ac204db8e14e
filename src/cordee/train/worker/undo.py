"""A copy of the state before a step, from which that step can be made again: for two members that differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.train.worker.gradients import Layout
from cordee.train.worker.state import Header, Trained, place, tensors_of


@dataclass(slots=True)
class Copy:
    """A state, apart from the one that is trained."""

    header: Header
    tensors: list[Tensor]


class Undo:
    """Keeps the state before the last step, and the gradient with which that was made."""

    def __init__(self, trained: Trained, layout: Layout) -> None:
        self._trained, self._layout = trained, layout
        self._before: Copy | None = None
        self._gradient: Sequence[Tensor] | None = None

    def keep(self, step: int) -> None:
        """A step is about to be made. Where there is no room for a copy, there is none."""
        try:
            self._before = _copy(self._trained, step, self._before)
        except RuntimeError:  # out of memory, which is RuntimeError on every device
            self.forget()

    def made(self, gradient: Sequence[Tensor]) -> None:
        """It was made with this gradient, clipped already."""
        self._gradient = gradient if self._before is not None else None

    def forget(self) -> None:
        """Nothing is kept, and no memory for it."""
        self._before = self._gradient = None

    def again(self, digest_of_state: Callable[[], int]) -> int:
        """The digest of the state that the last step gives; 0 where it cannot be made again."""
        if self._before is None or self._gradient is None:
            return 0
        now = _copy(self._trained, self._before.header.step + 1, None)
        _put(self._trained, self._before)
        self._layout.attach(self._gradient)
        self._trained.optimizer.step()
        self._layout.detach()
        found = digest_of_state()
        _put(self._trained, now)
        return found


def _copy(trained: Trained, step: int, into: Copy | None) -> Copy:
    header, tensors = tensors_of(trained, step)
    if into is None or into.header.entries != header.entries:
        return Copy(header, [tensor.clone() for tensor in tensors])
    torch._foreach_copy_(into.tensors, tensors)
    return Copy(header, into.tensors)


def _put(trained: Trained, copy: Copy) -> None:
    trained.optimizer.state.clear()
    for tensor, kept in zip(place(trained, copy.header), copy.tensors, strict=True):
        tensor.copy_(kept)
