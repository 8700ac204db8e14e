"""The way back from a state that may be wrong, by steps that are made again: for two members that differ.

Where a copy of the state costs much, as on the CPU, there is one only now and then, and the gradients since are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.train.worker.advance import Advance
from cordee.train.worker.state import Header, Trained, Value, apply_settings, place, tensors_of

GRADIENTS_MOST_BYTES = 1 << 28
"""Gradients that are larger are not kept: a copy of the state takes less memory than many of them."""


@dataclass(slots=True)
class Copy:
    """A state, apart from the one that is trained."""

    header: Header
    tensors: list[Tensor]


class Undo:
    """Keeps a state from before the last step, and the gradients with which steps since were made."""

    def __init__(self, advance: Advance, steps: int) -> None:
        """`steps`: that may lie between two copies."""
        self._advance, self._trained, self._layout = advance, advance.trained, advance.layout
        parts = self._layout.parts
        whole_bytes = sum(part.numbers * part.dtype.itemsize for part in parts)
        cheap = parts[0].device.type != "cpu" or whole_bytes > GRADIENTS_MOST_BYTES
        self.steps = 1 if cheap else steps
        """So many gradients must stay as they are. The same for all members."""
        self._before: Copy | None = None
        self._since: list[tuple[Sequence[Tensor], list[dict[str, Value]]]] = []

    def keep(self, step: int, *, known: bool) -> None:
        """A step is about to be made. Where there is no room for a copy, there is none.

        `known`: the state is the one that others have, too.
        """
        if self._before is not None and len(self._since) < self.steps and not known:
            return
        try:
            self._before = copied(self._trained, step, self._before)
        except RuntimeError:  # out of memory, which is RuntimeError on every device
            self.forget()
        self._since = []

    def made(self, gradient: Sequence[Tensor]) -> None:
        """It was made with this gradient, clipped already."""
        if self._before is not None:
            self._since.append((gradient, self._advance.used))

    def forget(self) -> None:
        """Nothing is kept, and no memory for it."""
        self._before, self._since = None, []

    def again(self, digest_of_state: Callable[[], int]) -> int:
        """The digest of the state that the steps since give; 0 where they cannot be made again."""
        if self._before is None or not self._since:
            return 0
        now = copied(self._trained, self._advance.step)
        put_back(self._trained, self._before)
        for gradient, used in self._since:
            apply_settings(self._trained, used)
            self._layout.attach(gradient)
            self._trained.optimizer.step()
            self._layout.detach()
        found = digest_of_state()
        put_back(self._trained, now)
        return found


def copied(trained: Trained, step: int, into: Copy | None = None) -> Copy:
    """The state as it is now; `into`: a copy that is no longer needed."""
    header, tensors = tensors_of(trained, step)
    if into is None or into.header.entries != header.entries:
        return Copy(header, [tensor.clone() for tensor in tensors])
    torch._foreach_copy_(into.tensors, tensors)
    return Copy(header, into.tensors)


def put_back(trained: Trained, copy: Copy) -> None:
    """The state becomes that of a copy again."""
    trained.optimizer.state.clear()
    for tensor, kept in zip(place(trained, copy.header), copy.tensors, strict=True):
        tensor.copy_(kept)
